"""What a way back must not bring back, and must not take away."""

from guests import Fleet

KEYS = "/etc/ssh/authorized_keys.d/sageadm"
LOST = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxvc3QgbGFwdG9wIGxvc3QgbGFwdG9wIGxvc3Q lost-laptop"


def test_undo_leaves_keys_passwords_and_the_backup_as_they_are_now(one: Fleet) -> None:
    guest = one.guests[0]
    guest.run(f"echo '{LOST}' >> {KEYS}; usermod -p '*known' sageadm; echo before > /etc/ours")
    done = one.appliance("upgrade", "system", "--no-packages", "--json")
    assert done.code == 0, done
    guest.run(f"sed -i /lost-laptop/d {KEYS}; usermod -p '*fresh' sageadm; echo now > /etc/ours")
    guest.run("mkdir -p /etc/appliance; echo secret > /etc/appliance/backup.json")
    guest.run("touch /etc/systemd/system/appliance-backup.timer; echo mine > /etc/cron.d/mine")
    done = one.appliance("upgrade", "system", "--undo", "--json")
    assert done.code == 0, done
    assert "lost-laptop" not in guest.run(f"cat {KEYS}")
    assert guest.run("getent shadow sageadm").split(":")[1] == "*fresh"
    assert guest.run("stat -c '%U:%G %a' /etc/shadow") == "root:shadow 640\n"
    assert guest.run("cat /etc/appliance/backup.json") == "secret\n"
    guest.run("rm /etc/systemd/system/appliance-backup.timer; rm -r /etc/appliance")
    # What playbooks might have written is as before; what it was is kept.
    assert guest.run("cat /etc/ours; ls /etc/cron.d") == "before\ne2scrub_all\n"
    undone = "/var/lib/appliance/system/undone/etc"
    assert guest.run(f"cat {undone}/ours {undone}/cron.d/mine") == "now\nmine\n"
