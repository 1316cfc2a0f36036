"""What each service of ours may do on the machine, as systemd counts it."""

import pytest
from guest import Guest

WORST = 4.0


def units(guest: Guest) -> list[str]:
    names = guest.run("cd /etc/systemd/system && grep -l 'Ansible managed' *.service").split()
    assert {"notebook.service", "notebook-proxy.service", "appliance-keys.service"} <= set(names)
    return names


def test_a_service_is_closed_or_says_why_not(guest: Guest) -> None:
    """A unit that needs more says so, in a line that begins with ``# Exposed:``."""
    for name in units(guest):
        shown = name.replace("@.", "@x.")
        told = guest.run(f"systemd-analyze security --no-pager {shown} | tail -1")
        exposure = float(told.split(": ")[1].split()[0])
        said = "# Exposed: " in guest.run(f"cat /etc/systemd/system/{name}")
        assert said == (exposure >= WORST), f"{name}: {exposure}"


@pytest.mark.parametrize("unit", ["notebook", "notebook-proxy"])
@pytest.mark.parametrize(
    "command",
    [
        *("touch /etc/x", "touch /home/x", "touch /opt/notebook/x", "ls /home/sageadm"),
        *("unshare -Ur true", "mount -t tmpfs x /mnt", "chroot / true", "dmesg"),
        *("cat /proc/1/environ", "mknod /tmp/x b 8 0", "hostname x"),
    ],
)
def test_whoever_takes_a_service_over_does_little(guest: Guest, unit: str, command: str) -> None:
    """Started in the same sandbox, by the unit's own words."""
    names = (
        "ProtectSystem,ProtectHome,ReadWritePaths,PrivateDevices,PrivateTmp,NoNewPrivileges,"
        "RestrictNamespaces,ProtectHostname,ProtectProc,SystemCallFilter,User"
    )
    shown = guest.run(f"systemctl show {unit} -p {names}").splitlines()
    words = " ".join(f"-p '{line}'" for line in shown if line.partition("=")[2])
    ran = f"systemd-run --quiet --wait --collect {words} -- sh -c '{{}}' && echo done || true"
    assert "done" in guest.run(f"{ran.format('true')} 2> /dev/null")
    assert "done" not in guest.run(f"{ran.format(command)} 2> /dev/null")
