import resource
from pathlib import Path

import pytest

from provision.guest.pool.session import (
    environment,
    first_page,
    parse_ulimit,
    port_of,
    tunnels_of,
)


def test_ulimit_is_written_as_in_the_classic_notebook() -> None:
    assert parse_ulimit("-v 500000 -u 100") == [
        (resource.RLIMIT_AS, 500000 * 1024),
        (resource.RLIMIT_NPROC, 100),
    ]
    assert parse_ulimit("") == []


@pytest.mark.parametrize("text", ["-v", "-q 1", "-v lots", "100"])
def test_an_ulimit_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_ulimit(text)


def test_each_account_has_its_port() -> None:
    assert port_of(2001) != port_of(2002)


def test_the_environment_is_the_students_and_the_port_the_accounts() -> None:
    requested = {
        "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/alice/",
        "JUPYTERHUB_USER": "alice",
        "HOME": "/root",
        "PATH": "/evil",
    }
    env = environment(requested, user="nb3", home="/home/nb3", port=12003)
    assert env["JUPYTERHUB_SERVICE_URL"] == "http://127.0.0.1:12003/user/alice/"
    assert env["HOME"] == "/home/nb3/work"
    assert env["USER"] == "nb3"
    assert "/evil" not in env["PATH"]
    assert not env["JUPYTER_RUNTIME_DIR"].startswith(env["HOME"])


def test_each_account_has_tunnels_of_its_own() -> None:
    ports = [port for uid in range(2001, 3000) for port in tunnels_of(uid)]
    assert len(ports) == len(set(ports))
    assert 20000 <= min(ports) <= max(ports) < 28000


def test_the_hub_of_another_machine_is_reached_through_the_tunnel() -> None:
    requested = {"JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api", "OTHER": "8081"}
    env = environment(requested, user="nb3", home="/home/nb3", port=12003, hub=(8081, 20024))
    assert env["JUPYTERHUB_API_URL"] == "http://127.0.0.1:20024/hub/api"
    assert env["OTHER"] == "8081"


def test_the_first_notebook_opens_until_a_page_was_open(tmp_path: Path) -> None:
    assert first_page(tmp_path) == {}  # it was removed
    (tmp_path / "First steps.ipynb").touch()
    assert first_page(tmp_path) == {"JUPYTERHUB_DEFAULT_URL": "/lab/tree/First%20steps.ipynb"}
    (tmp_path / ".jupyter/lab/workspaces").mkdir(parents=True)
    assert first_page(tmp_path) == {}
