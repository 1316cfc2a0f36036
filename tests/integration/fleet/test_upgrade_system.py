"""Renewing packages and configuration of a finished appliance, and going back."""

import json
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guests import Fleet, Guest, Outcome, finished, fleet

# Makes version $1 of the package `chalk` in an archive of the guest's own; $2 is its postinst.
PACKAGE = r"""
set -eu
archive=/srv/archive tree=/srv/tree
rm -rf $tree; mkdir -p $archive $tree/DEBIAN $tree/etc $tree/usr/bin
printf 'Package: chalk\nVersion: %s\nArchitecture: all\nMaintainer: nobody <n@b>\n%s' \
    "$1" "Description: for tests
" > $tree/DEBIAN/control
printf '%s\n' "${3:-}" | sed '/^$/d' >> $tree/DEBIAN/control
echo /etc/chalk.conf > $tree/DEBIAN/conffiles
printf '#!/bin/sh\n%s\n' "$2" > $tree/DEBIAN/postinst
chmod 755 $tree/DEBIAN/postinst
echo "colour = white # $1" > $tree/etc/chalk.conf
printf '#!/bin/sh\necho %s\n' "$1" > $tree/usr/bin/chalk
mkdir -p $tree/usr/share/chalk; head -c "$4" /dev/urandom > $tree/usr/share/chalk/ballast
chmod 4755 $tree/usr/bin/chalk
dpkg-deb --build $tree $archive/chalk_$1.deb > /dev/null
cd $archive; (for deb in *.deb; do dpkg-deb -f $deb
echo "Filename: ./$deb"; echo "Size: $(stat -c %s $deb)"
echo "SHA256: $(sha256sum $deb | cut -d' ' -f1)"; echo; done) > Packages
"""


def publish(
    guest: Guest, version: str, postinst: str = "exit 0", control: str = "", ballast: int = 16
) -> None:
    words = ("publish", version, postinst, control, str(ballast))
    guest.run(shlex.join(["sh", "-c", PACKAGE, *words]))


@pytest.fixture(scope="module")
def used(sealed: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A finished appliance whose only archive is its own."""
    base = finished(sealed, tmp_path_factory.mktemp("finished"))
    with fleet(base, tmp_path_factory.mktemp("used"), 1) as running:
        guest = running.guests[0]
        publish(guest, "1.0")
        guest.run("mkdir /srv/aside; mv /etc/apt/sources.list.d/* /srv/aside")
        guest.run("echo 'deb [trusted=yes] copy:/srv/archive ./' > /etc/apt/sources.list")
        guest.run("apt-get -q update && apt-get -q -y install chalk")
        guest.run("echo '# ours' >> /etc/chalk.conf; echo noether > /home/students/work")
        yield running


def renew(fleet: Fleet, *words: str, **options: Any) -> tuple[Outcome, dict[str, Any]]:
    done = fleet.appliance("upgrade", "system", "--json", *words, **options)
    rows = json.loads(done.out)["hosts"] if done.out else [{}]
    return done, rows[0]


def chalk(guest: Guest) -> str:
    """The version that works, that dpkg knows, and whose configuration is still ours."""
    said = guest.run("chalk").strip()
    assert guest.run("dpkg-query -W -f '${Version}' chalk") == said
    assert guest.run("tail -n1 /etc/chalk.conf") == "# ours\n"
    assert guest.run("stat -c %a /usr/bin/chalk") == "4755\n"
    assert guest.run("dpkg --audit") == ""
    assert guest.run("cat /home/students/work") == "noether\n"
    return said


def goes_back(guest: Guest, version: str, patience: float = 60) -> None:
    """Unconfirmed, it goes back by itself."""
    state = "/var/lib/appliance/system/state.json"
    deadline = time.monotonic() + patience
    while json.loads(guest.run(f"cat {state}"))["step"] != "back":
        assert time.monotonic() < deadline, guest.run(f"cat {state}; journalctl -n 20 --no-pager")
        time.sleep(0.5)
    assert chalk(guest) == version


def test_packages_come_and_go_back(used: Fleet) -> None:
    guest = used.guests[0]
    publish(guest, "1.1", control="Depends: base-files")
    done, row = renew(used)
    assert done.code == 0, done
    assert row["facts"]["packages"] == {"chalk:all": ["1.0", "1.1"]}
    assert (row["facts"]["reboot"], chalk(guest)) == ("no", "1.1")
    done, row = renew(used, "--undo")
    assert (done.code, chalk(guest)) == (0, "1.0"), done
    done, row = renew(used)
    assert (done.code, chalk(guest)) == (0, "1.1"), done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "postinst"),
    [
        ("packages", 'test "$1" != configure'),
        ("health", "systemctl disable --quiet --now notebook"),
        ("health", "systemd-run --quiet --wait --unit=broken false || :"),
    ],
)
def test_what_breaks_goes_back(used: Fleet, step: str, postinst: str) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", postinst)
    done, row = renew(used)
    assert (done.code, row["step"]) == (1, step), done
    assert "as it was" in row["detail"]
    assert chalk(guest) == before
    guest.run("rm /srv/archive/*.1.1.deb; systemctl reset-failed")
    guest.wait()


@pytest.mark.slow
@pytest.mark.parametrize("step", ["check", "record", "packages", "health"])
def test_the_host_is_killed(used: Fleet, step: str) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "sleep 3")
    words = ("upgrade", "system", "--json", "--timeout", "10")
    begun = (lambda: guest.run(at_step("recorded"))) if step == "record" else (lambda: None)
    used.appliance(*words, kill=(f"running {step}", signal.SIGKILL), first=begun)
    if step != "check":  # then nothing is recorded yet
        goes_back(guest, before)
    assert chalk(guest) == before
    done, _ = renew(used)
    assert (done.code, chalk(guest)) == (0, f"{before}.1"), done


def at_step(step: str) -> str:
    """A command that waits for a step."""
    state = "/var/lib/appliance/system/state.json"
    return f"until grep -q '{step}\\\"' {state}; do sleep 0.01; done"


def called(used: Fleet, *words: str) -> tuple[threading.Thread, list[Any]]:
    """An upgrade that goes on beside the test."""
    outcome: list[tuple[Outcome, dict[str, Any]]] = []
    caller = threading.Thread(target=lambda: outcome.append(renew(used, *words, timeout=900)))
    caller.start()
    return caller, outcome


@pytest.mark.slow
@pytest.mark.parametrize("step", ["recorded", "upgrading", "postinst", "upgraded"])
def test_the_guest_loses_power(used: Fleet, step: str) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    guest.run("rm -f /var/lib/appliance/system/state.json")
    publish(guest, f"{before}.1", "sleep 15" if step == "postinst" else "exit 0")
    caller, outcome = called(used)
    if step == "postinst":
        guest.run("until pgrep -f '[c]halk.postinst'; do sleep 0.1; done")
    else:
        guest.run(at_step(step))
    guest.cut()
    guest.start(used.inventory)
    caller.join()
    assert outcome.pop()[0].code == 1
    guest.wait()
    goes_back(guest, before)


@pytest.mark.slow
@pytest.mark.parametrize(
    "process", ["[r]enew-system begin", "[r]enew-system work", "[a]pt-get", "[c]halk.postinst"]
)
def test_the_guests_side_is_killed(used: Fleet, process: str) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "sleep 5")
    wait = "" if "begin" in process else "until pgrep -f '[c]halk.postinst'; do sleep 0.1; done;"
    killer = f"{wait} until pkill -KILL -f '{process}'; do sleep 0.01; done"
    guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", killer]))
    done, _ = renew(used, "--timeout", "15")
    assert done.code == 1, done
    assert chalk(guest) == before  # at once: the host led it back
    done, _ = renew(used)
    assert (done.code, chalk(guest)) == (0, f"{before}.1"), done


@pytest.mark.slow
@pytest.mark.parametrize("power", [False, True])
def test_the_way_back_is_killed(used: Fleet, power: bool) -> None:
    """It goes on by itself: where the power was cut at the next boot, else soon after."""
    guest, before = used.guests[0], chalk(used.guests[0])
    # The old version's own script takes its time when it comes back.
    publish(guest, f"{before}.1", "sleep 4")
    done, _ = renew(used)
    assert done.code == 0, done
    publish(guest, f"{before}.2", 'test "$1" != configure')
    caller, outcome = called(used, "--timeout", "15")
    guest.run(f"{at_step('going back')}; until pgrep -f '[c]halk.postinst'; do sleep 0.1; done")
    if power:
        guest.cut()
        guest.start(used.inventory)
        guest.wait()
    else:
        guest.run("pkill -KILL -f '[r]enew-system back'; pkill -KILL dpkg")
    caller.join()
    assert outcome.pop()[0].code == 1
    goes_back(guest, f"{before}.1", 120)
    guest.run(f"rm /srv/archive/chalk_{before}.2.deb")


@pytest.mark.slow
@pytest.mark.parametrize("full", ["archives", "target", "kept"])
def test_a_full_disk(used: Fleet, full: str) -> None:
    """Where packages arrive, where they are unpacked, where the old ones are kept."""
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "exit 0", ballast=4 << 20)
    place = {
        "archives": "/var/cache/apt/archives",
        "target": "/usr/share/chalk",
        "kept": "/var/lib/appliance/system/packages",
    }[full]
    mount = f"mkdir -p {place}; mount -t tmpfs -o size=64k,mode=755 tmpfs {place}"
    if full == "kept":
        guest.run("rm -f /var/lib/appliance/system/state.json")
        late = f"{at_step('recorded')}; {mount}; head -c 64k /dev/zero > {place}/ballast"
        guest.run(shlex.join(["systemd-run", "--quiet", "--collect", "sh", "-c", late]))
    else:
        guest.run(mount)
    done, row = renew(used)
    guest.run(f"umount -l {place}")
    assert (done.code, row["step"]) == (1, "packages"), done
    assert "as it was" in row["detail"]
    assert chalk(guest) == before
    done, _ = renew(used)
    assert (done.code, chalk(guest)) == (0, f"{before}.1"), done


@pytest.mark.slow
def test_a_reboot_is_asked_for(used: Fleet) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "touch /run/reboot-required")
    done, row = renew(used, "--window", time.strftime("%H:00-%H:00"))
    assert (done.code, row["facts"]["reboot"][:7]) == (0, "pending"), done
    assert status(used)["reboot"] is True
    caller, outcome = called(used)
    boots(used)
    caller.join()
    (done, row) = outcome[0]
    assert (done.code, row["facts"]["reboot"]) == (0, "done"), done
    assert (chalk(guest), status(used)["reboot"]) == (f"{before}.1", False)


@pytest.mark.slow
def test_the_host_is_killed_while_the_guest_boots(used: Fleet) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "touch /run/reboot-required")
    words = ("upgrade", "system", "--json", "--timeout", "20")
    used.appliance(*words, kill=("running reboot", signal.SIGKILL), first=lambda: boots(used))
    goes_back(guest, before, 120)
    guest.wait()
    # The old one, put together again, asked for a reboot when it came back, as it did at first.
    guest.run(f"rm -f /run/reboot-required /srv/archive/chalk_{before}.1.deb")


def boots(used: Fleet) -> None:
    """Wait until the guest goes down for its reboot, and have it come back."""
    guest = used.guests[0]
    assert guest.machine is not None and guest.machine.process is not None
    guest.machine.process.wait(240)  # nspawn ends where a machine would start anew
    guest.stop()
    guest.start(used.inventory)


def status(used: Fleet) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(used.appliance("fleet", "status", "--json").out)
    return facts["hosts"][0]["facts"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_configuration_comes_and_drift_shows(used: Fleet, arguments: list[str]) -> None:
    guest = used.guests[0]
    guest.run("mv /srv/aside/* /etc/apt/sources.list.d/; rm -f /etc/apt/sources.list")
    guest.run("hostnamectl hostname room12-07; usermod -p x sageadm")
    keys = guest.run("cat /etc/ssh/authorized_keys.d/sageadm")
    words = arguments
    done, row = renew(used, *words, "--no-packages", timeout=900)
    assert done.code == 0, done
    told = json.loads(used.appliance("fleet", "status", "--json", *words, "--drift").out)
    assert told["hosts"][0]["facts"]["drift"] == [], row
    guest.run("echo nothing > /etc/notebook/pool.conf")
    told = json.loads(used.appliance("fleet", "status", "--json", *words, "--drift").out)
    assert "notebook : Write the notebook's configuration" in told["hosts"][0]["facts"]["drift"]
    done, row = renew(used, *words, "--no-packages", timeout=900)
    assert (done.code, "directory" in guest.run("cat /etc/notebook/pool.conf")) == (0, True)
    assert guest.run("hostname") == "room12-07\n"
    assert keys in guest.run("cat /etc/ssh/authorized_keys.d/sageadm")
    assert guest.run("getent shadow sageadm").split(":")[1] == "x"


@pytest.mark.slow
@pytest.mark.parametrize("power", [False, True])
def test_killed_in_the_playbooks(used: Fleet, arguments: list[str], power: bool) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    guest.run("echo '# ours' >> /etc/notebook/pool.conf")
    written = "while grep -q ours /etc/notebook/pool.conf; do sleep 0.05; done"
    words = (*arguments, "--no-packages", "--timeout", "120")
    if power:
        caller, outcome = called(used, *words)
        guest.run(written)
        guest.cut()
        guest.start(used.inventory)
        caller.join()
        assert outcome.pop()[0].code == 1
    else:
        used.appliance(
            *("upgrade", "system", *words),
            kill=("running playbooks", signal.SIGKILL),
            first=lambda: guest.run(written),
        )
    goes_back(guest, before, 300)
    assert guest.run("tail -n1 /etc/notebook/pool.conf") == "# ours\n"
    guest.wait()
    done, _ = renew(used, *arguments, "--no-packages", timeout=900)
    assert (done.code, "ours" in guest.run("cat /etc/notebook/pool.conf")) == (0, False), done


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_distributions_own_packages_go_back(used: Fleet) -> None:
    """Real ones, a point release's, renewed to the last security updates, and back."""
    guest = used.guests[0]
    guest.run("mv /srv/aside/* /etc/apt/sources.list.d/ || :; rm -f /etc/apt/sources.list")
    guest.run("apt-get -q update", timeout=300)
    older: dict[str, str] = {}
    for name in ("openssl", "libssl3t64", "tzdata", "libexpat1", "xz-utils", "liblzma5"):
        known = guest.run(f"apt-cache madison {name} | awk '{{print $3}}' | sort -uV").split()
        there = guest.run(f"dpkg-query -W -f '${{Version}}' {name} 2>/dev/null || :")
        if len(known) > 1 and there == known[-1]:
            older[name] = known[0]
    assert older, "the mirror has one version only of each of these: name others here"
    wanted = " ".join(f"{name}={version}" for name, version in older.items())
    guest.run(f"apt-get install -qy --allow-downgrades {wanted}", timeout=600)
    names = " ".join(older)

    def versions() -> dict[str, str]:
        told = guest.run(f"dpkg-query -W -f '${{Package}} ${{Version}}\\n' {names}")
        return dict(line.split() for line in told.splitlines())

    def sound() -> None:
        # An appliance leaves out documentation, which is missing before and after.
        wrong = f"dpkg --verify {names} | grep -v ' /usr/share/' || :"
        assert guest.run(f"{wrong}; dpkg --audit") == ""
        guest.run("python3 -c 'import ssl, lzma, pyexpat'; apt-get check")

    assert versions() == older
    last = "systemctl stop notebook"
    late = shlex.join(["sh", "-c", f"{at_step('upgraded')}; {last}"])
    guest.run(f"rm /var/lib/appliance/system/state.json; systemd-run --quiet --collect {late}")
    done, row = renew(used, "--reboot", "never", timeout=900)
    assert (done.code, row["step"]) == (1, "health"), done
    assert "not running: notebook" in row["detail"]
    assert versions() == older
    sound()
    guest.wait()
    done, row = renew(used, "--reboot", "never", timeout=900)
    assert done.code == 0, done
    renewed = row["facts"]["packages"]
    assert {name.partition(":")[0] for name in renewed} >= set(older)
    assert all(versions()[name] != version for name, version in older.items())
    sound()
    if "libssl3t64" in older:
        assert row["facts"]["reboot"].startswith("pending")
        assert status(used)["reboot"] is True
    done, row = renew(used, "--undo", timeout=900)
    assert (done.code, versions()) == (0, older), done
    sound()


def test_a_window_that_is_none(used: Fleet) -> None:
    assert used.appliance("upgrade", "system", "--window", "at night").code == 2
