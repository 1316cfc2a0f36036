"""What the keys grader and jail change in a build, and what they leave alone."""

from typing import Any

import pytest

from provision import resources
from provision.build.inputs import stage_inputs
from provision.build.plan import plan
from provision.build.request import Request
from provision.build.variables import GRADER_PACKAGES, playbook_variables
from provision.config import read
from provision.config.distributions import DISTRIBUTIONS
from provision.errors import ConfigError
from provision.jeos.archive import Release, SourceLine

SOURCES = (
    SourceLine("http://mirror.test/debian", "trixie", ("main",), DISTRIBUTIONS["debian"].keyring),
)


def request(*assignments: str) -> Request:
    config = read(assignments=assignments, environ={}).config
    return Request(config, SOURCES, Release("abc", 1_700_000_000), (), None)


def told(*assignments: str) -> dict[str, Any]:
    config = read(assignments=assignments, environ={}).config
    return playbook_variables(config, SOURCES, epoch=1)


def keys(*assignments: str) -> dict[str, str]:
    steps = plan(stage_inputs(request(*assignments)), has=lambda _: False, last={})
    return {step.name: step.key for step in steps}


def test_they_are_off_by_default() -> None:
    variables = told()
    assert (variables["grader_enabled"], variables["jail_enabled"]) == (False, False)
    assert not set(GRADER_PACKAGES) & set(variables["packages_extra"])


def test_settings_become_variables() -> None:
    variables = told(
        *("grader.enabled=true", "grader.instances=4", "grader.queue=0", "grader.limits.memory=1G"),
        *("grader.network=[pypi.org, .debian.org]", "grader.images={c: [gcc], py: [python3]}"),
    )
    assert set(GRADER_PACKAGES) <= set(variables["packages_extra"])
    assert (variables["grader_instances"], variables["grader_queue"]) == (4, 0)
    assert variables["grader_network"] == ["pypi.org", ".debian.org"]
    assert variables["grader_image"] == "c"
    assert variables["grader_image_names"] == ["c", "py"]
    assert variables["grader_limits"]["memory"] == 1 << 30
    assert variables["grader_address"] == "127.0.0.1"


def test_a_forward_opens_the_service() -> None:
    variables = told("grader.enabled=true", "network.forwards={grader: {host: 8090, guest: 8090}}")
    assert variables["grader_address"] == "0.0.0.0"  # noqa: S104 (the guest's)
    assert 8090 in variables["base_open_ports"]


def test_another_image_runs_the_fast_stages_only() -> None:
    one, other = (
        keys("grader.enabled=true"),
        keys("grader.enabled=true", "grader.images={c: [gcc]}"),
    )
    assert (one["base"], one["packages"]) == (other["base"], other["packages"])
    assert one["configure"] != other["configure"]
    assert (
        keys("jail.enabled=true")["configure"]
        != keys("jail.enabled=true", "jail.pip=[six]")["configure"]
    )


def test_packages_of_the_role_and_of_the_build_agree() -> None:
    role = (resources.playbooks() / "roles/grader/vars/main.yml").read_text()
    assert f"grader_packages: [{', '.join(GRADER_PACKAGES)}]" in role


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("grader.network=[http://pypi.org]", "not a host"),
        ("grader.images={}", "no image"),
        ("grader.images={Bad Name: [gcc]}", "not a name"),
        ("grader.instances=0", "instances"),
        ("jail.pip=[--index-url=x]", "not a PyPI package"),
    ],
)
def test_what_cannot_be_is_refused(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(assignments=(assignment,), environ={})
    assert says in str(refused.value)
