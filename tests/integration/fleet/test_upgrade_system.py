"""Renewing packages and configuration of a finished appliance, and going back."""

import json
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from guests import Fleet, Guest, Outcome, finished, fleet

from provision.build.build import Built
from provision.config import read

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
chmod 4755 $tree/usr/bin/chalk
dpkg-deb --build $tree $archive/chalk_$1.deb > /dev/null
cd $archive; (for deb in *.deb; do dpkg-deb -f $deb
echo "Filename: ./$deb"; echo "Size: $(stat -c %s $deb)"
echo "SHA256: $(sha256sum $deb | cut -d' ' -f1)"; echo; done) > Packages
"""


def publish(guest: Guest, version: str, postinst: str = "exit 0", control: str = "") -> None:
    guest.run(shlex.join(["sh", "-c", PACKAGE, "publish", version, postinst, control]))


@pytest.fixture(scope="module")
def used(
    built: Built, arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A finished appliance whose only archive is its own."""
    config = read(assignments=arguments[1::2]).config
    base = finished(config, tmp_path_factory.mktemp("finished"))
    with fleet(base, tmp_path_factory.mktemp("used"), 1) as running:
        guest = running.guests[0]
        publish(guest, "1.0")
        guest.run("mkdir /srv/aside; mv /etc/apt/sources.list.d/* /srv/aside")
        guest.run("echo 'deb [trusted=yes] file:/srv/archive ./' > /etc/apt/sources.list")
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
@pytest.mark.parametrize("step", ["record", "packages", "health"])
def test_the_host_is_killed(used: Fleet, step: str) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "sleep 3")
    words = ("upgrade", "system", "--json", "--patience", "10")
    used.appliance(*words, kill=(f"running {step}", signal.SIGKILL))
    goes_back(guest, before)
    done, _ = renew(used)
    assert (done.code, chalk(guest)) == (0, f"{before}.1"), done


@pytest.mark.slow
def test_the_guest_loses_power_and_a_reboot_is_asked_for(used: Fleet) -> None:
    guest, before = used.guests[0], chalk(used.guests[0])
    publish(guest, f"{before}.1", "sleep 15")
    outcome: list[tuple[Outcome, dict[str, Any]]] = []
    caller = threading.Thread(target=lambda: outcome.append(renew(used)))
    caller.start()
    guest.run("until pgrep -f '[c]halk.postinst'; do sleep 0.1; done")
    guest.cut()
    guest.start(used.inventory)
    caller.join()
    assert outcome.pop()[0].code == 1
    guest.wait()
    goes_back(guest, before)

    publish(guest, f"{before}.1", "touch /run/reboot-required")
    done, row = renew(used, "--window", time.strftime("%H:00-%H:00"))
    assert (done.code, row["facts"]["reboot"][:7]) == (0, "pending"), done
    caller = threading.Thread(target=lambda: outcome.append(renew(used)))
    caller.start()
    assert guest.machine is not None and guest.machine._process is not None
    guest.machine._process.wait(120)  # nspawn ends where a machine would start anew
    guest.stop()
    guest.start(used.inventory)
    caller.join()
    (done, row) = outcome[0]
    assert (done.code, row["facts"]["reboot"]) == (0, "done"), done
    assert chalk(guest) == f"{before}.1"


@pytest.mark.slow
def test_the_configuration_comes_and_drift_shows(used: Fleet, arguments: list[str]) -> None:
    guest = used.guests[0]
    guest.run("mv /srv/aside/* /etc/apt/sources.list.d/; rm -f /etc/apt/sources.list")
    guest.run("hostnamectl hostname room12-07; usermod -p x sageadm")
    keys = guest.run("cat /etc/ssh/authorized_keys.d/sageadm")
    words = arguments
    done, row = renew(used, *words, "--no-packages")
    assert done.code == 0, done
    told = json.loads(used.appliance("fleet", "status", "--json", *words, "--drift").out)
    assert told["hosts"][0]["facts"]["drift"] == [], row
    guest.run("echo nothing > /etc/notebook/pool.conf")
    told = json.loads(used.appliance("fleet", "status", "--json", *words, "--drift").out)
    assert "notebook : Write the notebook's configuration" in told["hosts"][0]["facts"]["drift"]
    done, row = renew(used, *words, "--no-packages")
    assert (done.code, "directory" in guest.run("cat /etc/notebook/pool.conf")) == (0, True)
    assert guest.run("hostname") == "room12-07\n"
    assert keys in guest.run("cat /etc/ssh/authorized_keys.d/sageadm")
    assert guest.run("getent shadow sageadm").split(":")[1] == "x"


def test_a_window_that_is_none(used: Fleet) -> None:
    assert used.appliance("upgrade", "system", "--window", "at night").code == 2
