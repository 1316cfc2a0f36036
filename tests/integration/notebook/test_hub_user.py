"""The hub's user: whoever takes the hub over has the hub, and nothing of the administrator's."""

from collections.abc import Iterator

import pytest
from guest import Guest
from student import Student

# As the hub itself: its user, mounts and privileges; the other way is from outside of its sandbox.
AS_HUB = """
hub=$(systemctl show -P MainPID notebook); uid=$(awk '/^Uid/ {print $2}' /proc/$hub/status)
inside() {
    nsenter -t $hub -m setpriv --reuid=$uid --regid=$uid --init-groups --no-new-privs \\
        --bounding-set -all env -i PATH=/usr/bin:/bin:/usr/sbin "$@"
}
outside() { setpriv --reuid=$uid --regid=$uid --init-groups env -i PATH=/usr/bin:/bin "$@"; }
"""
PROOF = "/root/from-the-hub"


@pytest.fixture(scope="module")
def signed_in(guest: Guest) -> Iterator[None]:
    """The administrator's service manager runs, as it does while somebody is signed in by SSH."""
    guest.run("systemctl start user@$(id -u sageadm)")
    yield
    guest.run(f"systemctl stop user@$(id -u sageadm); rm -f {PROOF}")


def test_the_administrator_would_get_there(guest: Guest, signed_in: None) -> None:
    """What follows is an attack: the same words work for who may."""
    manager = "XDG_RUNTIME_DIR=/run/user/$(id -u sageadm)"
    guest.run(
        f"rm -f {PROOF}; runuser -u sageadm -- env {manager} systemd-run --user --quiet"
        f" sudo -n touch {PROOF}; until test -e {PROOF}; do sleep 0.1; done; rm {PROOF}"
    )


@pytest.mark.parametrize("way", ["inside", "outside"])
@pytest.mark.parametrize(
    "command",
    [
        "XDG_RUNTIME_DIR=/run/user/1000 systemd-run --user --quiet sudo -n",
        "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus systemd-run --user sudo -n",
        "systemd-run --quiet",
        "sudo -n",
        "su sageadm -c",
        "systemctl start user@$uid; XDG_RUNTIME_DIR=/run/user/$uid systemd-run --user sudo -n",
        "ssh -o BatchMode=yes sageadm@localhost sudo",
        "setpriv --reuid=1000",
        "nsenter -t 1 -m",
        "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1"
        " org.freedesktop.systemd1.Manager Reboot #",
    ],
)
def test_the_hub_does_not_become_root(
    guest: Guest, signed_in: None, way: str, command: str
) -> None:
    assert guest.run(f"{AS_HUB} echo $uid").strip() not in ("0", "1000", "")
    tried = f'{way} sh -c "uid=$uid; {command} touch {PROOF}" > /dev/null 2>&1 || true'
    guest.run(f"{AS_HUB} {tried}; sleep 1")  # a manager would do it by and by
    assert guest.run(f"test ! -e {PROOF} && echo nothing") == "nothing\n"


@pytest.mark.parametrize(
    "path",
    ["/home/sageadm/.ssh/id_ed25519", "/etc/shadow", "/etc/ssh/ssh_host_ed25519_key", "/root"],
)
@pytest.mark.parametrize("way", ["inside", "outside"])
def test_the_hub_reads_nothing_of_the_administrators(guest: Guest, way: str, path: str) -> None:
    tried = guest.run(f"{AS_HUB} {way} ls {path}/ 2>&1; {way} cat {path} 2>&1 || true")
    assert "denied" in tried


def test_the_hubs_user_has_neither_login_nor_rights(guest: Guest) -> None:
    assert guest.run("getent passwd notebook").strip().split(":")[5:] == [
        *("/nonexistent", "/usr/sbin/nologin")
    ]
    assert guest.run("id -Gn notebook") == "notebook\n"
    assert guest.run("passwd -S notebook").split()[1] == "L"
    assert "not allowed" in guest.run("sudo -l -U notebook || true")
    for unit in ("notebook", "notebook-proxy"):
        assert guest.run(f"systemctl show -P User {unit}") == "notebook\n"


def test_the_administrator_administers_it(guest: Guest) -> None:
    def sageadm(command: str) -> str:
        return guest.run(f"runuser -u sageadm -- sh -c '{command}' 2>&1 || true")

    assert "sageadm" in sageadm("sudo notebook-accounts list")
    assert sageadm("sudo notebook-sessions end; echo $?").endswith("0\n")
    assert len(sageadm("sudo cat /var/lib/notebook/first-password").strip()) > 20
    assert "sudo notebook-accounts" in sageadm("notebook-accounts list")
    assert "sudo notebook-sessions" in sageadm("notebook-sessions")


def test_what_was_the_administrators_becomes_the_hubs(guest: Guest) -> None:
    """An appliance of before, or its backup: and root follows no link on the way."""
    guest.run("test -s /var/lib/notebook/first-password; systemctl stop notebook notebook-proxy")
    key = guest.run("cat /var/lib/notebook/id_ed25519.pub")
    guest.run(
        "cd /var/lib/notebook; mkdir -p machines; ln -sf /etc/shadow planted;"
        " ln -sfn /etc machines/planted; chown -hR sageadm:sageadm ."
    )
    guest.run("systemctl start notebook-proxy notebook")
    guest.wait()
    assert guest.run("find /var/lib/notebook ! -user notebook") == ""
    assert guest.run("stat -c '%U %a' /var/lib/notebook /etc/shadow /etc /etc/passwd").split() == [
        *("notebook", "700", "root", "640", "root", "755", "root", "644")
    ]
    guest.run("cd /var/lib/notebook; rm planted machines/planted")
    assert guest.run("cat /var/lib/notebook/id_ed25519.pub") == key
    student = Student(guest.url, "migrant").sign_in().start()
    assert student.kernel().run("6 * 7") == "42"
    student.stop()


@pytest.mark.parametrize(
    "damage", ["rm -f {}", ": > {}", ": > {}.pub", "rm -f {}.pub", "truncate -s 99 {}"]
)
def test_a_key_that_a_power_cut_left_is_mended(guest: Guest, damage: str) -> None:
    guest.run(f"cd /var/lib/notebook; {damage.format('id_ed25519')}")
    guest.run("systemctl restart sshd-pool notebook")
    guest.wait()
    student = Student(guest.url, "keyholder").sign_in().start()
    assert student.kernel().run("6 * 7") == "42"
    student.stop()
