"""Another root disk under a real appliance: what is its own goes along, and comes back."""

from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from guests import ADMIN, Base, finished

from provision.errors import HypervisorError, UsageError
from provision.fleet import replace_root
from provision.fleet.inventory import Host
from provision.fleet.remote import StepError
from provision.fleet.upgrade import WentBackError, healthy
from provision.machine import SshEndpoint
from provision.machine.nspawn import NspawnMachine
from provision.machine.ports import free_port
from provision.machine.ssh import connect, execute

STUDENTS = "/home/students"
pytestmark = pytest.mark.slow


class Guest:
    """An appliance whose root is a directory, and whose /home is another that stays."""

    def __init__(self, base: Base, place: Path) -> None:
        self.base, self.place = base, place
        self.roots, self.home = [place / "old"], place / "home"
        self.ssh, self.web = free_port(), free_port()
        self.machine: NspawnMachine | None = None

    def boot(self, place: str) -> None:
        layers = self.base.layers if self.roots[-1].name == "old" else self.base.layers[:-1]
        self.machine = NspawnMachine(
            layers,
            self.roots[-1],
            forwards={22: self.ssh, 8000: self.web},
            caches={self.home: place},
            user=ADMIN,
            console=self.place / "console",
        )
        self.machine.start()

    def start(self) -> SshEndpoint:
        if self.machine is None:
            self.boot("/home")
        known = self.place / "known_hosts"
        return SshEndpoint("127.0.0.1", self.ssh, ADMIN, self.base.key, known)

    def stop(self) -> None:
        if self.machine is not None:
            self.machine.stop()
            self.machine = None

    def exchange(self, new: Path) -> None:
        self.roots.append(new)

    def put_back(self) -> None:
        self.roots.pop()

    def host(self, endpoint: SshEndpoint) -> Host:
        url = f"https://127.0.0.1:{self.web}"
        return Host("sage-01", "127.0.0.1", endpoint.port, ADMIN, endpoint.key, url)

    def run(self, command: str) -> str:
        with connect(self.start()) as client:
            return ran(client, command)


def ran(client: paramiko.SSHClient, command: str) -> str:
    done = execute(client, f"sudo sh -c '{command}'", timeout=120)
    assert done.status == 0, f"{command}: {done}"
    return done.stdout


@pytest.fixture(scope="module")
def guest(sealed: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    place = tmp_path_factory.mktemp("roots")
    made = Guest(finished(sealed, tmp_path_factory.mktemp("finished")), place)
    made.home.mkdir()
    made.boot("/mnt")
    made.run("cp -a /home/. /mnt/")
    made.stop()
    try:
        made.run(f"mkdir -p {STUDENTS}/emmy; echo noether > {STUDENTS}/emmy/work")
        made.run("usermod -p secret sageadm; echo room12-07 > /etc/hostname")
        made.run("cd /var/lib/notebook; until [ -s jupyterhub.sqlite ]; do sleep 0.2; done")
        yield made
    finally:
        made.stop()


def state(guest: Guest) -> str:
    """All that is this appliance's own, and no image's."""
    return guest.run(
        "cd /var/lib/notebook; cat accounts.json *cookie_secret tls/* 2>/dev/null | sha256sum; cat"
        " /etc/ssh/ssh_host_ed25519_key.pub /etc/hostname /home/sageadm/.ssh/*.pub"
        f" /etc/ssh/authorized_keys.d/sageadm; grep ^sageadm: /etc/shadow | cut -d: -f2;"
        f" cat {STUDENTS}/emmy/work"
    )


def new_root(guest: Guest, name: str) -> Path:
    place = guest.place / name
    (place / "etc").mkdir(parents=True)
    (place / "etc/which-root").write_text(name)
    for path in (place, place / "etc"):
        path.chmod(0o755)
    return place


def test_what_is_its_own_goes_along(guest: Guest) -> None:
    before, told = state(guest), []
    done = replace_root.replace(
        guest, new_root(guest, "new"), guest.host, lambda step, _: told.append(step)
    )
    assert done["notebook"].startswith("https://")
    assert told == ["leave", "exchange", "start", "health"]
    assert guest.run("cat /etc/which-root") == "new"
    assert state(guest) == before
    assert guest.run("hostname") == "room12-07\n"
    assert guest.run("stat -c %U:%a /var/lib/notebook /etc/ssh/ssh_host_ed25519_key").split() == [
        *("notebook:700", "root:600")
    ]

    guest.run(f"echo more >> {STUDENTS}/emmy/work; usermod -p newer sageadm")
    now = state(guest)
    replace_root.roll_back(guest, guest.host, lambda step, _: None)
    assert guest.run("ls /etc/which-root 2>/dev/null || echo old") == "old\n"
    assert state(guest) == now


def test_a_root_that_is_not_healthy_goes(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace_root, "HEALTH_SECONDS", 45)
    before, bad = state(guest), new_root(guest, "bad")
    (bad / "etc/systemd/system").mkdir(parents=True)
    (bad / "etc/systemd/system/notebook.service").symlink_to("/dev/null")
    for path in (bad / "etc/systemd", bad / "etc/systemd/system"):
        path.chmod(0o755)
    try:
        with pytest.raises(WentBackError, match="the old root disk serves again"):
            replace_root.replace(guest, bad, guest.host, lambda step, _: None)
    finally:
        monkeypatch.undo()
    assert state(guest) == before


def serving(guest: Guest) -> None:
    """The notebook answers on the old root, and nothing waits on /home for another."""
    healthy(guest.host(guest.start()).url, patience=90)
    assert guest.run("ls /etc/which-root 2>/dev/null || echo old") == "old\n"
    assert guest.run("ls /home/.appliance-root/state.tar 2>/dev/null || echo none") == "none\n"


def test_who_asked_is_killed_before_the_shutdown(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub was stopped for the bundle: it serves again, and the bundle is gone."""
    guest.start()
    serving(guest)
    before = state(guest)
    monkeypatch.setattr(replace_root, "LEAVE_SECONDS", 5)
    replace_root._leave(guest, guest.host, lambda step, _: None)  # and no more of it
    told = "systemctl is-active notebook || :"
    guest.run(f"until [ $({told}) = active ]; do sleep 0.2; done")
    serving(guest)
    assert state(guest) == before


def test_killed_while_it_is_off_the_old_root_goes_on(guest: Guest) -> None:
    before = state(guest)
    replace_root._leave(guest, guest.host, lambda step, _: None)
    guest.stop()
    serving(guest)
    assert state(guest) == before


def test_a_full_home_leaves_the_old_root_serving(guest: Guest) -> None:
    before = state(guest)
    place = "/home/.appliance-root"
    guest.run(f"mkdir -p {place}; mount -t tmpfs -o size=4k,mode=700 tmpfs {place}")
    with pytest.raises(StepError, match="No space"):
        replace_root.replace(guest, new_root(guest, "never"), guest.host, lambda step, _: None)
    guest.run(f"umount -l {place}")
    serving(guest)
    assert state(guest) == before


def test_a_disk_that_cannot_be_exchanged(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(guest)

    def refused(*_: object) -> None:
        raise HypervisorError("the medium is locked")

    def none_kept() -> None:
        raise UsageError("no old root disk is kept")

    monkeypatch.setattr(guest, "exchange", refused)
    monkeypatch.setattr(guest, "put_back", none_kept)
    with pytest.raises(WentBackError, match="medium is locked"):
        replace_root.replace(guest, new_root(guest, "locked"), guest.host, lambda step, _: None)
    serving(guest)
    assert state(guest) == before
