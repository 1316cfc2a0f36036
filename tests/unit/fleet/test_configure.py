"""What `configure` refuses, for only packages bring it."""

from provision.build.variables import playbook_variables
from provision.config import Config
from provision.fleet.configure import paths_of_packages

EVERYTHING = {
    "kernels": {
        **{"bash": True, "r": True, "octave": True},
        "julia": {"version": "1.12.1", "url": "https://x.example/j.tar", "sha256": "ab" * 32},
    },
    "git": {"enabled": True, "hosts": ("git.example",)},
    "stores": {"enabled": True, "hosts": ("cloud.example",)},
    "sign_in": {"google": {"client_id": "x", "domains": ("school.example",)}},
}


def test_everything_that_a_configuration_may_want_is_known() -> None:
    told = playbook_variables(Config.model_validate(EVERYTHING), (), epoch=0)
    found = paths_of_packages(told)
    languages = ["bash", "r", "octave", "julia 1.12.1"]
    assert list(found) == [*languages, "kernels.python.packages", "git", "signin", "stores"]
    assert all(found.values())
    assert found["julia 1.12.1"] == ("/opt/julia-1.12.1/depot",)
    assert "/usr/bin/rclone" in found["stores"]


def test_a_plain_configuration_wants_no_packages() -> None:
    plain = Config.model_validate({"kernels": {"python": {"packages": ()}}})
    assert paths_of_packages(playbook_variables(plain, (), epoch=0)) == {}
