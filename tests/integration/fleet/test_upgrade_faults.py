"""A renewal of Sage; whatever breaks it off, the old one serves, and the next run finishes."""

import functools
import hashlib
import itertools
import json
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from guests import Fleet, Outcome
from toy import tree

BRIEF, LONG = 10, 120  # seconds until an unconfirmed switch goes back: when killed, when not
Pack = Callable[..., Path]
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
_numbers = itertools.count(2)
pytestmark = pytest.mark.usefixtures("afresh")


@pytest.fixture
def version() -> str:
    return f"1.{next(_numbers)}"


def renew(fleet: Fleet, version: str, file: Path, **options: Any) -> Outcome:
    return fleet.appliance(
        *("upgrade", "sage", "--to", version, "--package", str(file), "--json"),
        *("--timeout", str(BRIEF if "kill" in options else LONG)),
        **options,
    )


def serves(fleet: Fleet, version: str, patience: float = 60) -> None:
    """The version serves; a switch that nobody confirmed has that long to go back."""
    deadline = time.monotonic() + patience
    while (now := fleet.guests[0].sage()) != version:
        assert time.monotonic() < deadline, f"{now} serves, not {version}"
        time.sleep(0.5)


def test_a_new_version_serves(one: Fleet, package: Pack, version: str) -> None:
    before, file = one.guests[0].sage(), package(version)
    done = renew(one, version, file)
    assert done.code == 0, done
    row = json.loads(done.out)["hosts"][0]
    assert (row["result"], row["facts"]["before"], row["facts"]["after"]) == ("ok", before, version)
    serves(one, version)
    again = renew(one, version, file)
    assert json.loads(again.out)["hosts"][0]["facts"]["changed"] is False


STEPS = [slow("transfer"), slow("verify"), slow("unpack"), slow("prove"), "switch"]
STEPS += [slow("health"), slow("prune")]


@pytest.mark.parametrize("step", STEPS)
def test_the_host_is_killed(one: Fleet, package: Pack, version: str, step: str) -> None:
    before, file = one.guests[0].sage(), package(version, ballast=20 << 20)
    killed = renew(one, version, file, kill=(f"running {step}", signal.SIGKILL))
    assert killed.code == -signal.SIGKILL, killed
    time.sleep(1)  # into the step
    serves(one, version if step == "prune" else before)  # by then it is confirmed
    done = renew(one, version, file)
    assert done.code == 0, done
    serves(one, version)


POWER = [slow("transfer"), slow("unpack"), slow("prove"), "switch", slow("health"), slow("prune")]


@pytest.mark.parametrize("step", POWER)
def test_the_guest_loses_power(one: Fleet, package: Pack, version: str, step: str) -> None:
    guest = one.guests[0]
    before, file = guest.sage(), package(version, ballast=1 << 20)
    guest.run("mkdir -p /home/students/emmy && echo noether > /home/students/emmy/work; sync")
    killed = renew(one, version, file, kill=(f"running {step}", signal.SIGKILL))
    assert killed.code == -signal.SIGKILL, killed
    guest.cut()
    guest.start(one.inventory)
    guest.wait()
    serves(one, version if step == "prune" else before)
    assert guest.run("cat /home/students/emmy/work") == "noether\n"
    done = renew(one, version, file)
    assert done.code == 0, done
    serves(one, version)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["receive", "unpack", "prove", "switch", "check", "confirm"])
def test_the_guests_side_is_killed(one: Fleet, package: Pack, version: str, step: str) -> None:
    guest, file = one.guests[0], package(version, ballast=20 << 20)
    before = guest.sage()
    killer = f"until pkill -KILL -f '[r]enew-sage {step}'; do sleep 0.01; done"
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", killer]))
    words = ("upgrade", "sage", "--to", version, "--package", str(file), "--json")
    done = one.appliance(*words, "--timeout", "45")
    assert (done.code, "ended unexpectedly" in done.out) == (1, True), done
    if step != "confirm":  # killed after it had said so, the new one stays
        serves(one, before, 120)
    done = renew(one, version, file)
    assert done.code == 0, done
    serves(one, version)
    assert guest.run("ls -A /opt | grep part || true") == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["z", "J"])
def test_a_classic_sage_comes_as_a_tarball(
    one: Fleet, package: Pack, version: str, tmp_path: Path, kind: str
) -> None:
    """`sage` at its top, by gzip and xz; the guest has no internet."""
    guest = one.guests[0]
    guest.run(
        "nft 'table inet alone { chain out { type filter hook output priority -300;"
        ' oifname != "lo" ct state new drop; }; }\''
    )
    made = tree(tmp_path / f"SageMath-{version}", version, one.guests[0].base.python)
    (made / "bin/sage").unlink()
    (made / "sage").write_text(
        f"#!/bin/sh\nif [ $1 = --python ]; then shift; exec /opt/sage-{version}/bin/python $@; fi\n"
        f"exec /opt/sage-{version}/bin/python -c 'import sage.all; print(sage.all.VERSION)'\n"
    )
    (made / "sage").chmod(0o755)
    file = tmp_path / "classic.tar"
    subprocess.run(["tar", "-C", tmp_path, f"-c{kind}f", file, made.name], check=True)
    done = renew(one, version, file)
    guest.run("nft delete table inet alone")
    assert done.code == 0, done
    serves(one, version)
    assert f'"/opt/sage-{version}/sage"' in guest.sage_kernel()
    words = ("upgrade", "sage", "--to", f"{version}.1", "--package", str(package(f"{version}.1")))
    one.appliance(*words, "--timeout", str(BRIEF), kill=("running health", signal.SIGKILL))
    serves(one, version)  # the command of a classic one is elsewhere, and is found again


@pytest.mark.parametrize("fault", ["right", slow("starts")])
def test_a_bad_version_goes_back(one: Fleet, package: Pack, version: str, fault: str) -> None:
    before = one.guests[0].sage()
    done = renew(one, version, package(version, **{fault: False}))
    row = json.loads(done.out)["hosts"][0]
    assert (done.code, row["result"], row["step"]) == (1, "failed", "prove")
    assert f"{before} serves" in row["detail"]
    serves(one, before)
    assert version not in one.guests[0].run("ls /opt")


UNREACHABLE = (
    'nft "table inet shut { chain in { type filter hook input priority -300;'
    ' tcp dport 8000 drop; }; }"'
)


@pytest.mark.parametrize(
    "fault",
    [
        ("systemctl stop notebook", "systemctl start notebook", "not running: notebook"),
        slow((UNREACHABLE, "nft delete table inet shut", "does not answer")),
    ],
)
def test_an_unhealthy_notebook_goes_back(
    one: Fleet, package: Pack, version: str, fault: tuple[str, str, str]
) -> None:
    """What the new version does to the notebook shows only once it is current."""
    act, undo, told = fault
    guest, before = one.guests[0], one.guests[0].sage()
    # Stands for a hub that dies of the new version: as soon as the link has changed.
    script = (
        f'until [ "$(readlink /opt/sage-current)" = /opt/sage-{version} ];'
        f" do sleep 0.05; done; {act}"
    )
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", script]))
    done = renew(one, version, package(version))
    row = json.loads(done.out)["hosts"][0]
    guest.run(undo)
    guest.wait()
    assert (done.code, row["step"]) == (1, "health"), done
    assert told in row["detail"]
    serves(one, before)


def test_a_broken_transfer_goes_on(one: Fleet, package: Pack, version: str) -> None:
    file = package(version, ballast=4 << 20)
    digest, size = hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size
    _arrived(one, digest, file.read_bytes()[: size // 2])
    done = renew(one, version, file)
    assert done.code == 0, done
    assert json.loads(done.out)["hosts"][0]["facts"]["sent"] == size - size // 2
    serves(one, version)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [8, 75])
def test_the_network_is_cut(one: Fleet, package: Pack, version: str, seconds: int) -> None:
    """Briefly: nobody notices. For long: the connection is given up, and the next goes on."""
    file, guest = package(version, ballast=60 << 20), one.guests[0]
    cut = (
        'until [ -n "$(ls /var/lib/appliance/sage/incoming)" ]; do sleep 0.01; done;'
        " nft 'table inet cut { chain in { type filter hook input priority -300;"
        " tcp dport 22 drop; }; }'"
        f"; sleep {seconds}; nft delete table inet cut; touch /run/mended"
    )
    guest.run("rm -f /run/mended; mkdir -p /var/lib/appliance/sage/incoming")
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", cut]))
    done = renew(one, version, file)
    assert done.code == 0, done
    guest.run("test -e /run/mended")
    serves(one, version)


@pytest.mark.slow
def test_a_damaged_transfer_is_sent_again(one: Fleet, package: Pack, version: str) -> None:
    file = package(version, ballast=1 << 20)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    _arrived(one, digest, b"\0" * (1 << 20))
    done = renew(one, version, file)
    assert done.code == 0, done
    serves(one, version)


def test_a_wrong_checksum_touches_no_host(one: Fleet, package: Pack, version: str) -> None:
    done = one.appliance(
        *("upgrade", "sage", "--to", version, "--package", str(package(version))),
        *("--sha256", "0" * 64),
    )
    assert done.code == 2
    assert "has sha256" in done.err


def test_a_full_disk(one: Fleet, package: Pack, version: str) -> None:
    guest, before = one.guests[0], one.guests[0].sage()
    incoming = "/var/lib/appliance/sage/incoming"
    guest.run(f"mkdir -p {incoming}; mount -t tmpfs -o size=1m,mode=1777 tmpfs {incoming}")
    done = renew(one, version, package(version, ballast=4 << 20))
    guest.run(f"umount -l {incoming}")
    assert done.code == 1, done
    assert json.loads(done.out)["hosts"][0]["step"] == "transfer"
    serves(one, before)


def test_running_kernels_keep_their_sage_and_old_versions_are_pruned(
    one: Fleet, package: Pack, version: str
) -> None:
    guest, before = one.guests[0], one.guests[0].sage()
    begun = (
        "import os, time\n"
        "while not os.path.exists('/run/bell'): time.sleep(0.1)\n"
        "import sage.all; print(sage.all.VERSION)"
    )
    argv = shlex.join([f"/opt/sage-{before}/bin/python", "-c", begun])
    guest.run(f"systemd-run --unit=student -p StandardOutput=file:/run/said {argv}")
    done = one.appliance(
        *("upgrade", "sage", "--to", version, "--package", str(package(version))),
        *("--keep", "0"),
    )
    assert done.code == 0, done
    left = set(guest.run("ls -d /opt/sage-*").split())
    assert left == {f"/opt/sage-{before}", f"/opt/sage-{version}", "/opt/sage-current"}
    guest.run("touch /run/bell; until [ -s /run/said ]; do sleep 0.1; done", timeout=20)
    assert guest.run("cat /run/said") == f"{before}\n"
    guest.run("until ! systemctl -q is-active student; do sleep 0.1; done")
    done = renew(one, f"{version}.1", package(f"{version}.1"))  # keeps one
    assert done.code == 0, done
    left = set(guest.run("ls -d /opt/sage-*").split())
    assert left == {f"/opt/sage-{version}", f"/opt/sage-{version}.1", "/opt/sage-current"}


def _arrived(one: Fleet, digest: str, content: bytes) -> None:
    from provision.machine.ssh import execute

    place = "/var/lib/appliance/sage/incoming"
    root = one.guests[0].root
    assert root is not None
    one.guests[0].run(f"mkdir -p {place}; chown sageadm {place}")
    execute(root, f"cat > {place}/{digest}; chown sageadm {place}/{digest}", stdin=content)
