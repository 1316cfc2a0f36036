"""Five appliances at once."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from guests import Base, Fleet, fleet

from provision.fleet.inventory import read, with_host, write
from provision.machine import keys
from provision.machine.ssh import execute

Pack = Callable[..., Path]


@pytest.fixture(scope="module")
def five(shared: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(shared, tmp_path_factory.mktemp("five"), 5) as running:
        yield running


def renew(five: Fleet, version: str, file: Path, *options: str) -> tuple[int, dict[str, str]]:
    done = five.appliance(
        *("upgrade", "sage", "--to", version, "--package", str(file), "--json", *options)
    )
    return done.code, {row["host"]: row["result"] for row in json.loads(done.out)["hosts"]}


def test_a_failing_canary_spares_the_others(five: Fleet, package: Pack) -> None:
    code, results = renew(five, "1.1", package("1.1", right=False), "--canary", "1")
    assert code == 1
    assert list(results.values()) == ["failed"] + ["skipped"] * 4
    assert [guest.sage() for guest in five.guests] == ["1.0"] * 5


def test_plain_ansible_reads_the_inventory(five: Fleet) -> None:
    argv = [sys.executable, "-m", "ansible", "adhoc", "-i", str(five.inventory)]
    told = subprocess.run(
        [*argv, "sage-02", "-m", "ansible.builtin.command", "-a", "id -un"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "root" in told.stdout, told


def test_hosts_of_another_inventory_are_added(five: Fleet, tmp_path: Path) -> None:
    host = five.guests[3].host
    source = tmp_path / "hosts.ini"
    source.write_text(
        f"[lab]\nlab-1 ansible_host=127.0.0.1 ansible_port={host.port} ansible_user={host.user}"
        f" ansible_ssh_private_key_file={host.key} appliance_tags=blue\n"
    )
    ours = ("--inventory", str(tmp_path / "fleet.yml"))
    refused = five.appliance("fleet", "add", "--from", str(source), *ours)
    assert (refused.code, "--fingerprint SHA256:" in refused.err) == (2, True)
    fingerprint = refused.err.split("--fingerprint ")[1].split()[0]
    wrong = five.appliance(
        "fleet", "add", "--from", str(source), "--fingerprint", "SHA256:x", *ours
    )
    assert (wrong.code, "not SHA256:x" in wrong.err) == (2, True)
    added = five.appliance(
        "fleet", "add", "--from", str(source), "--fingerprint", fingerprint, *ours
    )
    assert added.code == 0, added
    told = json.loads(five.appliance("fleet", "list", "blue", "--json", *ours).out)
    assert [(row["name"], row["groups"]) for row in told] == [("lab-1", ["lab"])]
    assert told[0]["fingerprint"] == fingerprint
    assert five.appliance("users", "list", "--on", "lab", *ours).code == 0
    assert five.appliance("fleet", "remove", "lab-1", *ours).code == 0
    assert five.appliance("fleet", "list", "--json", *ours).out == "[]\n"


def test_those_that_fail_hold_up_nobody_and_a_run_goes_on(five: Fleet, package: Pack) -> None:
    """One has another host key, one lets the administrator's key in no more."""
    file = package("1.2")
    keys_of = "/etc/ssh/authorized_keys.d"
    five.guests[3].run(f"mv {keys_of}/sageadm /root/sageadm")
    known = five.inventory.parent / "known_hosts"
    kept = known.read_text()
    name = f"[127.0.0.1]:{five.guests[2].ssh} "
    lines = kept.splitlines(keepends=True)
    other = keys.generate(five.inventory.parent / "another", comment="").strip() + "\n"
    known.write_text("".join(name + other if line.startswith(name) else line for line in lines))
    code, results = renew(five, "1.2", file)
    known.write_text(kept)
    five.guests[3].run(f"mv /root/sageadm {keys_of}/sageadm")
    assert code == 6
    assert [name for name, result in results.items() if result != "ok"] == ["sage-03", "sage-04"]
    assert [guest.sage() for guest in five.guests] == ["1.2", "1.2", "1.0", "1.0", "1.2"]
    code, results = renew(five, "1.2", file, "--resume")
    assert (code, set(results.values())) == (0, {"ok"})
    assert [guest.sage() for guest in five.guests] == ["1.2"] * 5


def in_a_room(five: Fleet) -> None:
    """Tell the inventory where the others reach the first."""
    first = five.guests[0]
    inventory = read(five.inventory)
    host = replace(inventory.hosts["sage-01"], room=f"{first.gateway()}:{first.ssh}")
    write(with_host(inventory, host))


def test_one_of_a_room_hands_on_to_the_others(five: Fleet, package: Pack) -> None:
    file, first = package("1.3", ballast=3 << 20), five.guests[0]
    in_a_room(five)
    keys_before = first.run("cat /etc/ssh/authorized_keys.d/sageadm")
    incoming = "/var/lib/appliance/sage/incoming"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    half = file.read_bytes()[: file.stat().st_size // 2]
    assert five.guests[1].root is not None
    execute(five.guests[1].root, f"cat > {incoming}/{digest}", stdin=half)
    done = five.appliance(
        *("upgrade", "sage", "--to", "1.3", "--package", str(file), "--json", "--via", "sage-01")
    )
    assert done.code == 0, done
    assert [row["facts"]["sent"] for row in json.loads(done.out)["hosts"]] == [0] * 5, done
    assert [guest.sage() for guest in five.guests] == ["1.3"] * 5
    assert first.run("cat /etc/ssh/authorized_keys.d/sageadm") == keys_before
    assert first.run("ls /var/lib/appliance/sage").split() == ["incoming", "lock", "state.json"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_that_hands_on_dies(five: Fleet, package: Pack) -> None:
    """In the middle, then before it has begun: what it did not bring comes from here."""
    first = five.guests[0]
    in_a_room(five)
    # Its answers end after so many bytes: it took the package, and hands on less than that.
    first.run(
        "nft 'table inet cut { chain out { type filter hook output priority -300;"
        " tcp sport 22 quota over 6 mbytes drop; }; }'"
    )
    file = package("1.4", ballast=20 << 20)
    words = ("upgrade", "sage", "--to", "1.4", "--package", str(file), "--json")
    try:
        done = five.appliance(*words, "--via", "sage-01", timeout=900)
        rows = {row["host"]: row for row in json.loads(done.out)["hosts"]}
        assert (done.code, rows["sage-01"]["result"]) == (6, "failed"), done
        assert {name for name, row in rows.items() if row["result"] == "ok"} == {
            *("sage-02", "sage-03", "sage-04", "sage-05")
        }, done
        sent = [row["facts"]["sent"] for name, row in rows.items() if name != "sage-01"]
        assert max(sent) <= file.stat().st_size
        assert min(sent) < file.stat().st_size  # what had come from there stayed
        assert "cannot be told to end its offer" in done.err
        assert [guest.sage() for guest in five.guests[1:]] == ["1.4"] * 4
        file = package("1.5")
        words = ("upgrade", "sage", "--to", "1.5", "--package", str(file), "--json")
        done = five.appliance(*words, "--via", "sage-01", timeout=900)
        assert "hands nothing on" in done.err
        assert [guest.sage() for guest in five.guests[1:]] == ["1.5"] * 4
    finally:
        assert first.machine is not None
        first.cut()
        first.start(five.inventory)
        first.wait()
    done = five.appliance(*words, "--resume")
    assert (done.code, first.sage()) == (0, "1.5"), done


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_one_that_hangs_holds_up_nobody(five: Fleet, package: Pack) -> None:
    """A machine that stands still in the middle, its network up: the others are done meanwhile."""
    third, file = five.guests[2], package("1.6")
    before = third.sage()
    outcome: list[tuple[int, dict[str, str]]] = []
    caller = threading.Thread(target=lambda: outcome.append(renew(five, "1.6", file)))
    caller.start()
    try:
        third.run("until [ -e /opt/sage-1.6 ]; do sleep 0.05; done")
        third.freeze(True)
        caller.join(600)
        code, results = outcome.pop()
    finally:
        third.freeze(False)
    assert (code, [name for name, result in results.items() if result != "ok"]) == (6, ["sage-03"])
    others = [guest.sage() for guest in five.guests if guest is not third]
    assert (others, third.sage()) == (["1.6"] * 4, before)
    code, results = renew(five, "1.6", file, "--resume")
    assert (code, third.sage()) == (0, "1.6"), results
