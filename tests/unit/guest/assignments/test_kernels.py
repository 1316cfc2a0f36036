"""By which kernels notebooks are graded; no kernel is started."""

import json
from pathlib import Path

import pytest

from provision.guest.assignments.kernels import Kernel, find

SAGE = ["/opt/sage-10.8/bin/python", "-m", "sage.repl.ipython_kernel", "-f", "{connection_file}"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, argv in {"sagemath": SAGE, "ir": ["/usr/bin/R", "{connection_file}"]}.items():
        (tmp_path / name).mkdir()
        told = {"argv": argv, "env": {"ECL_CONFIG": "/usr/bin/true"}}
        (tmp_path / name / "kernel.json").write_text(json.dumps(told))
    (tmp_path / "sagemath-9").mkdir()
    (tmp_path / "sagemath-9/kernel.json").symlink_to("/opt/sage-9/kernel.json")
    return tmp_path


def test_sages_kernel_is_its_python_and_its_directory(place: Path) -> None:
    found = find("sagemath", place)
    assert found.python == (SAGE[0],)
    assert found.places == (Path("/opt/sage-10.8"),)
    assert found.sage
    assert found.environment == {"ECL_CONFIG": "/usr/bin/true"}


def test_the_distributions_sage_and_a_tarballs_are_found(place: Path) -> None:
    for argv, wanted in (
        (["/usr/bin/python3", *SAGE[1:]], Kernel(("/usr/bin/python3",), (), sage=True)),
        (
            ["/opt/sage-9.5/sage", "--python", *SAGE[1:]],
            Kernel(("/opt/sage-9.5/sage", "--python"), (Path("/opt/sage-9.5"),), sage=True),
        ),
    ):
        (place / "sagemath/kernel.json").write_text(json.dumps({"argv": argv}))
        found = find("sagemath", place)
        assert (found.python, found.places) == (wanted.python, wanted.places)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cobol", "'cobol', which is not here: notebooks of python3, sagemath can be graded"),
        ("sagemath-9", "'sagemath-9', which is not here"),
        ("../sagemath", "'../sagemath', which is not here"),
        ("ir", "'ir', in whose language no test can be run apart from what it tests"),
    ],
)
def test_what_cannot_grade_is_said(place: Path, name: str, words: str) -> None:
    with pytest.raises(LookupError) as told:
        find(name, place)
    assert words in told.value.args[0]
