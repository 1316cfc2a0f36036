"""Two operators of one appliance: a run has it to itself, and a second one is told so."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from guests import Fleet

from provision.config import Config
from provision.errors import ApplianceError
from provision.fleet import configure, lease, package, replace_root, system, upgrade
from provision.fleet.classroom import ask
from provision.fleet.inventory import Host, Inventory, read
from provision.fleet.remote import ApplianceBusyError, StepError, reach
from provision.machine import SshEndpoint

pytestmark = pytest.mark.usefixtures("afresh")
Pack = Callable[..., Path]
SYSTEM = "renew_system"
CHANGE = """python3 -c "import json; p = '/var/lib/appliance/run.json'; d = json.load(open(p)); {}
json.dump(d, open(p, 'w'))" """


def _quiet(_step: str, _detail: str) -> None:
    pass


@pytest.fixture
def inventory(one: Fleet) -> Inventory:
    return read(one.inventory)


@pytest.fixture
def host(one: Fleet) -> Host:
    return one.guests[0].host


@dataclass
class _Disk:
    """The machine of the guest; it must not come so far that its disk is exchanged."""

    endpoint: SshEndpoint

    def start(self) -> SshEndpoint:
        return self.endpoint

    def stop(self) -> None:
        raise AssertionError("shut down under somebody's hands")

    def exchange(self, new: Path) -> None:
        raise AssertionError("exchanged under somebody's hands")

    def put_back(self) -> None:
        raise AssertionError("exchanged under somebody's hands")


Verb = Callable[[Host, Inventory, Path], object]
SETTINGS = Config.model_validate(
    {
        "notebook": {"secure": False},
        "sage": {"source": "none"},
        "kernels": {"python": {"packages": ()}},
    }
)
VERBS: dict[str, Verb] = {
    "upgrade system": lambda host, known, _: system.upgrade_system(
        host, known, system.SystemOptions(packages=False), _quiet
    ),
    "upgrade system --undo": lambda host, known, _: system.undo_system(host, known, _quiet),
    "upgrade sage": lambda host, known, made: upgrade.upgrade_sage(
        host, known, package.read(made, "9.9"), upgrade.Options(), _quiet
    ),
    "hand on": lambda host, known, made: upgrade.prepare(host, known, package.read(made, "9.9")),
    "configure": lambda host, known, _: configure.configure(host, known, SETTINGS, _quiet),
    "replace-root": lambda host, known, made: replace_root.replace(
        _Disk(host.endpoint(known.known_hosts)), made, lambda _: host, _quiet
    ),
    "replace-root --rollback": lambda host, known, _: replace_root.roll_back(
        _Disk(host.endpoint(known.known_hosts)), lambda _: host, _quiet
    ),
    "restore": lambda host, known, _: ask(
        host, known, ("restore", "latest", "emmy", "."), _quiet, program="backup"
    ),
    "restore --all": lambda host, known, _: ask(
        host, known, ("restore-all", "latest"), _quiet, program="backup"
    ),
    "users add": lambda host, known, _: ask(host, known, ("users-add", "emmy"), _quiet),
    "users delete": lambda host, known, _: ask(host, known, ("users-delete", "emmy"), _quiet),
    "users import": lambda host, known, _: ask(
        host, known, ("users-import",), _quiet, stdin=b"emmy,secret-of-emmy\n"
    ),
    "sessions pool": lambda host, known, _: ask(
        host, known, ("resize", "2"), _quiet, program="pool"
    ),
}
RUNS = [name for name in VERBS if not name.startswith(("users", "sessions", "restore"))]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(
            name, marks=() if name in ("upgrade sage", "replace-root") else pytest.mark.slow
        )
        for name in RUNS
    ],
)
def test_every_pair_is_refused(
    one: Fleet, host: Host, inventory: Inventory, package: Pack, first: str
) -> None:
    """While a run of the first kind is fresh, none of any kind begins, and it is told which."""
    made = package("9.9")
    with lease.holding(host, inventory, first) as ours:
        before = one.guests[0].run("ls -R /var/lib/appliance /etc/systemd/system; cat /etc/passwd")
        for second, verb in VERBS.items():
            with pytest.raises(ApplianceBusyError, match=f"is at work here: {first}") as caught:
                verb(host, inventory, made)
            assert "--take-over" in str(caught.value.hint), second
        after = one.guests[0].run("ls -R /var/lib/appliance /etc/systemd/system; cat /etc/passwd")
        assert after == before
        with reach(ours, inventory) as remote:
            remote.program("lease", "renew")


@pytest.mark.parametrize("second", ["users add", "sessions pool"])
def test_what_is_done_at_once_waits_for_its_like(
    one: Fleet, host: Host, inventory: Inventory, second: str
) -> None:
    guest, answers = one.guests[0], list[object]()
    lock = "flock /var/lib/appliance/run.lock sh -c 'touch /run/held; sleep 3'"
    guest.run(f"mkdir -p /var/lib/appliance; systemd-run --quiet {shlex.join(['sh', '-c', lock])}")
    guest.run("until test -e /run/held; do sleep 0.1; done; rm /run/held")
    verb = VERBS[second]
    waiting = threading.Thread(target=lambda: answers.append(verb(host, inventory, Path())))
    waiting.start()
    waiting.join(60)
    assert answers, "it was refused, not waited"
    if second == "users add":
        VERBS["users delete"](host, inventory, Path())


def test_the_second_cannot_lead_the_first_back(
    one: Fleet, host: Host, inventory: Inventory
) -> None:
    """The guest's steps in the order in which two host programs called them."""
    guest = one.guests[0]
    with (
        lease.holding(host, inventory, "upgrade system") as first,
        reach(first, inventory) as a,
        reach(host, inventory) as b,
    ):
        a.program(SYSTEM, "begin", "1800")
        guest.run("echo 'of A' > /etc/from-a")
        b.program(SYSTEM, "look")
        for words in (("back", "a new run begins"), ("begin", "1800"), ("confirm",), ("undo",)):
            with pytest.raises(ApplianceBusyError, match="upgrade system"):
                b.program(SYSTEM, *words)
        a.program(SYSTEM, "extend")
        a.program(SYSTEM, "check")
        a.program(SYSTEM, "confirm")
    assert guest.run("rm -v /etc/from-a").startswith("removed")
    for step in (("begin", "1800"), ("undo",)):  # nor is a step of no run let through
        with (
            reach(host, inventory) as b,
            pytest.raises(StepError, match="a run has an id"),
        ):
            b.program(SYSTEM, *step)


def test_who_was_taken_over_is_told_and_touches_nothing(
    one: Fleet, host: Host, inventory: Inventory
) -> None:
    guest = one.guests[0]
    with (
        lease.holding(host, inventory, "upgrade system") as first,
        reach(first, inventory) as a,
    ):
        a.program(SYSTEM, "begin", "1800")
        guest.run("echo 'of A' > /etc/from-a")
        options = system.SystemOptions(packages=False, take_over=True)
        system.upgrade_system(host, inventory, options, _quiet)
        guest.run("echo 'of B' > /etc/from-b")
        for words in (("check",), ("confirm",), ("back", "A failed"), ("extend",)):
            with pytest.raises(ApplianceBusyError, match="lost the appliance"):
                a.program(SYSTEM, *words)
    assert guest.run("test ! -e /etc/from-a && rm -v /etc/from-b").startswith("removed")
    with lease.holding(host, inventory, "free again"):
        pass


def test_a_run_that_is_dead_is_no_obstacle(one: Fleet, host: Host, inventory: Inventory) -> None:
    """Its process was on this host and is gone; of another host's, nobody here can tell."""
    script = (
        "import sys, os, pathlib; from provision.fleet import lease;"
        "from provision.fleet.inventory import read;"
        "known = read(pathlib.Path(sys.argv[1])); host = next(iter(known.hosts.values()));"
        "run = lease.holding(host, known, 'a dead run'); run.__enter__();"
        "print('held', flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    dead = [sys.executable, "-c", script, str(one.inventory)]
    assert subprocess.run(dead, capture_output=True, check=False).stdout == b"held\n"
    with lease.holding(host, inventory, "the next"):
        pass
    subprocess.run(dead, capture_output=True, check=False)
    one.guests[0].run(CHANGE.format("d['origin'] = 'elsewhere ' + d['origin'].split(' ', 1)[1]"))
    with pytest.raises(ApplianceBusyError, match="a dead run"):
        VERBS["upgrade system"](host, inventory, Path())
    one.guests[0].run(CHANGE.format("d['at'] -= 301"))
    with lease.holding(host, inventory, "the one after that"):
        pass


def test_a_run_that_stands_still_and_another_that_takes_over(
    one: Fleet, package: Pack, inventory: Inventory
) -> None:
    """By the command line: the first is refused when it goes on, the second has what it made."""
    file = package("9.8")
    words = ["upgrade", "sage", "--to", "9.8", "--package", str(file), "--json"]
    env = {**os.environ, "APPLIANCE_FLEET": str(one.inventory)}
    env["XDG_STATE_HOME"] = str(one.inventory.parent / "state-of-a")
    argv = [sys.executable, "-m", "provision.cli", *words]
    first = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    assert first.stderr is not None and first.stdout is not None
    for line in first.stderr:
        if "running prove" in line or "running unpack" in line:
            break
    first.send_signal(signal.SIGSTOP)
    try:
        second = one.appliance(*words)
        told = json.loads(second.out)["hosts"][0]["detail"]
        assert (second.code, "is at work here: upgrade sage to 9.8" in told) == (1, True), second
        users = one.appliance("users", "add", "emmy", "--json")
        assert (users.code, "is at work here" in users.out) == (1, True), users
        deadline = time.monotonic() + 120  # the step that it is in ends first
        while (second := one.appliance(*words, "--take-over")).code and "step" in second.out:
            assert time.monotonic() < deadline, second
    finally:
        first.send_signal(signal.SIGCONT)
    out, _ = first.communicate(timeout=300)
    assert second.code == 0, second
    assert first.returncode == 1, out
    told = json.loads(out)["hosts"][0]["detail"]
    # Or its connection was given up, where it stood still for very long.
    assert "lost the appliance" in told or "the connection broke" in told
    assert one.guests[0].sage() == "9.8"


def test_a_failure_frees_the_appliance(one: Fleet, host: Host, inventory: Inventory) -> None:
    with pytest.raises(ApplianceError):
        VERBS["upgrade sage"](host, inventory, Path("/dev/null"))
    with pytest.raises(ZeroDivisionError), lease.holding(host, inventory, "a bug"):
        _ = 1 / 0
    with lease.holding(host, inventory, "free"):
        pass
