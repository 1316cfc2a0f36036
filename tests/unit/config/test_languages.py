"""One home for what we know of a language."""

from typing import get_args

import pytest

from provision import resources
from provision.config.languages import LANGUAGES, Kernels, Name, further, kernel_of

JULIA = {"version": "1.12.1", "url": "https://x.example/j.tar", "sha256": "ab" * 32}


def test_every_language_is_a_key_and_may_be_in_a_profile() -> None:
    assert set(Kernels.model_fields) == {"forked", "python", *LANGUAGES}
    assert set(get_args(Name)) == {"python", "sage", *LANGUAGES}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_says_what_packages_bring_and_what_starts_it(language: str) -> None:
    wanted = {language: JULIA if language == "julia" else True}
    (described,) = further(Kernels.model_validate(wanted))
    assert described["brought"]
    assert described["kernel"] == kernel_of(language)
    assert described["spec"]["argv"][0].startswith("/")
    assert described["spec"]["argv"][-1] == "{connection_file}"
    assert "{version}" not in str(described)


@pytest.mark.parametrize("language", [name for name, each in LANGUAGES.items() if each.module])
def test_a_kernel_that_is_a_python_package_is_in_the_list_of_wheels(language: str) -> None:
    wheels = (resources.playbooks() / "roles/kernels/files/requirements.in").read_text()
    assert LANGUAGES[language].module in wheels.splitlines()


def test_the_kernel_of_julia_is_of_its_version() -> None:
    (described,) = further(Kernels.model_validate({"julia": JULIA}))
    assert described["name"] == "julia 1.12.1"
    assert described["spec"]["argv"][0] == "/opt/julia-1.12.1/bin/julia"
    assert described["spec"]["env"]["JULIA_DEPOT_PATH"] == ":/opt/julia-1.12.1/depot"
