"""Settings that change while a class is at work."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from guests import Fleet, finished, fleet
from student import Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def used(
    sealed: tuple[Path, ...], arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """A finished appliance; its own appliance.yml is beside it."""
    base = finished(sealed, tmp_path_factory.mktemp("finished"))
    with fleet(base, tmp_path_factory.mktemp("configured"), 1) as running:
        wanted: dict[str, Any] = {}
        for word in arguments[1::2]:
            key, _, value = word.partition("=")
            *parents, last = key.split(".")
            place = wanted
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = yaml.safe_load(value)
        (running.inventory.parent / "appliance.yml").write_text(yaml.safe_dump(wanted))
        yield running


def configure(fleet: Fleet, *words: str) -> tuple[int, dict[str, Any], str]:
    """Call the verb with the appliance's own file; its exit code, its row, what it said."""
    file = str(fleet.inventory.parent / "appliance.yml")
    done = fleet.appliance("configure", "-c", file, "--json", *words)
    return done.code, json.loads(done.out)["hosts"][0] if done.out else {}, done.err


def test_settings_change_and_a_broken_one_leaves_the_old_in_force(used: Fleet) -> None:
    guest = used.guests[0]
    # An overlay cannot be mounted with other owners; the appliance's /home is ext4.
    guest.run("mount -t tmpfs -o mode=0711 tmpfs /home/students")
    password = json.loads(used.appliance("users", "add", "emmy", "--json").out)["hosts"][0]
    password = password["facts"]["passwords"]["emmy"]
    emmy = Student(guest.host.url, "emmy", password).sign_in().start()
    kernel = emmy.kernel()
    kernel.run("ideal = 'noether'")
    before = guest.run("cat /usr/local/bin/start-notebook /etc/notebook/*.json")

    code, _, said = configure(used, "--set", "notebook.time_out=10")
    assert (code, "timeout" in said) == (3, True), said
    code, row, said = configure(used, "--set", "notebook.timeout=1234", "--check")
    assert code == 0, (row, said)
    assert any("start-notebook" in line for line in row["facts"]["changes"])
    assert "notebook.service" in row["facts"]["restarts"]
    assert "notebook-proxy.service" not in row["facts"]["restarts"]
    assert "+    timeout=1234," in row["facts"]["diff"]
    code, row, _ = configure(used, "--set", "kernels.r=true", "--check")
    assert (code, "lacks r" in row["detail"]) == (1, True)
    julia = "{version: 1.12.1, url: 'https://x.example/j', sha256: " + "ab" * 32 + "}"
    more = ("--set", "stores.enabled=true", "--set", f"kernels.julia={julia}")
    code, row, said = configure(used, *more)
    assert (code, "lacks julia 1.12.1, stores" in row["detail"]) == (1, True), (row, said)
    assert guest.run("cat /usr/local/bin/start-notebook /etc/notebook/*.json") == before

    # An address that the guest does not have: the notebook cannot be reached there.
    code, row, said = configure(used, "--set", "notebook.interface=192.0.2.7")
    assert (code, row["step"]) == (1, "health"), (row, said)
    assert "as it was" in row["detail"]
    assert guest.run("cat /usr/local/bin/start-notebook /etc/notebook/*.json") == before
    guest.wait()
    assert kernel.run("print(ideal)") == "noether\n"

    code, row, said = configure(used, "--set", "notebook.timeout=1234")
    assert (code, row["facts"]["changed"]) == (0, True), (row, said)
    assert "timeout=1234," in guest.run("cat /usr/local/bin/start-notebook")
    assert kernel.run("print(ideal)") == "noether\n"
    code, row, said = configure(used, "--set", "notebook.timeout=1234", "--check")
    assert (code, row["facts"]["changes"], row["facts"]["restarts"]) == (0, [], []), (row, said)

    # As an earlier release has brought our package: files that no list names, by another name.
    site = guest.run("echo /opt/notebook/lib/python3*/site-packages").strip()
    guest.run(f"cd {site} && rm -r classroom_appliance_guest-*")
    guest.run(f"cd {site} && mkdir provision-0.dist-info && echo 1/0 > provision/gone.py")
    code, row, said = configure(used, "--set", "notebook.timeout=1234", "--check")
    assert (code, row["facts"]["changes"]) == (0, ["notebook : Bring our package: "]), (row, said)
    code, row, said = configure(used, "--set", "notebook.timeout=1234")
    assert (code, row["facts"]["changed"]) == (0, True), (row, said)
    guest.run(f"test ! -e {site}/provision-0.dist-info -a ! -e {site}/provision/gone.py")
    assert "classroom-appliance-guest" in guest.run("/opt/notebook/bin/pip list")
    assert kernel.run("print(ideal)") == "noether\n"
