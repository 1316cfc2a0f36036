"""A machine that is restored on a fresh appliance is the machine that was backed up."""

import fnmatch
import json
from typing import Any

from guests import Fleet, Guest
from student import Student

from provision.fleet.inside.contents import LEFT_OUT

FILES = "/home/students"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNvbGxlYWd1ZSBjb2xsZWFndWUgY29sbGVhZ3VlIGM colleague"
# All of a machine: path, kind, mode, owner, what is in it.
TREE = r"""
import hashlib, json, os, stat
found = {}
def look(top):
    for entry in os.scandir(top):
        if entry.path in ("/proc", "/sys", "/dev", "/run", "/tmp", "/usr", "/opt", "/lib", "/boot"):
            continue
        status = entry.stat(follow_symlinks=False)
        what = stat.S_IFMT(status.st_mode)
        if what == stat.S_IFLNK:
            text = os.readlink(entry.path)
        elif what == stat.S_IFREG:
            text = hashlib.sha256(open(entry.path, "rb").read()).hexdigest()
        else:
            text = ""
        found[entry.path] = (oct(status.st_mode), status.st_uid, status.st_gid, text)
        if what == stat.S_IFDIR:
            look(entry.path)
look("/")
print(json.dumps(found))
"""
# What a running machine writes by itself, besides what is left out of a backup.
MOVING = {
    "/var/lib/notebook/jupyterhub.sqlite": "the hub works on it; who is in it is compared below",
    "/var/lib/notebook/accounts.json": "is written anew, with the same accounts",
    "/var/lib/notebook-usage/*": "what the sampler has seen",
    "/var/lib/systemd/*": "timers and seeds of this machine",
    "/var/lib/private/*": "of systemd's own services",
    "/var/lib/dbus/*": "a machine's own",
    "/var/cache/*": "made again when it is needed",
    "/var/backups/*": "where the repository of this test is",
    "/var/tmp/*": "of nobody",
    "/root/*": "of this test",
    "/etc/passwd-": "kept by usermod",
    "/etc/shadow-": "kept by passwd",
    "/etc/shadow": "the day of a change; the passwords are compared below",
    "/etc/ld.so.cache": "made of what is installed",
    "/etc/resolv.conf": "a machine's own network",
    "/etc/systemd/system/*": "the timer, which setup makes",
    "/home/sageadm/.ssh/known_hosts*": "made again when it is needed",
    "/.*": "of the container of this test",
}


def tree(guest: Guest) -> dict[str, Any]:
    found = json.loads(guest.run(f"python3 - <<'E'\n{TREE}E"))
    patterns = [*LEFT_OUT, *(f"{each}/*" for each in LEFT_OUT), *MOVING]
    return {
        path: told
        for path, told in found.items()
        if not any(fnmatch.fnmatchcase(path, each) for each in patterns)
    }


def call(fleet: Fleet, *words: str, stdin: str | None = None) -> Any:
    done = fleet.appliance(*words, "--json", stdin=stdin)
    assert done.code == 0, done
    return json.loads(done.out)["hosts"][0]["facts"]


def test_the_two_trees(one: Fleet) -> None:
    guest = one.guests[0]
    guest.run(f"mount -t tmpfs -o mode=0711 tmpfs {FILES}")
    password = call(one, "users", "add", "emmy")["passwords"]["emmy"]
    emmy = Student(guest.host.url, "emmy", password).sign_in().start()
    emmy.kernel().shell("mkdir ring; echo noether > ring/ideal; ln -s ring link; chmod 600 ring/*")
    call(one, "sessions", "stop", "emmy")
    guest.run("hostnamectl hostname room12-07; usermod -p '$y$hash' sageadm")
    guest.run(f"echo '{KEY}' >> /etc/ssh/authorized_keys.d/sageadm")
    guest.run("echo '# ours' >> /etc/notebook/limits.conf; mkdir -p /etc/appliance")
    guest.run("echo ours > /etc/appliance/ours; echo mine > /home/sageadm/notes")
    hub = guest.run("stat -c %U /var/lib/notebook").strip()
    openssl = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90"
    guest.run(
        f"install -d -o {hub} -g {hub} -m 700 /var/lib/notebook/tls /var/lib/notebook/machines"
    )
    guest.run(f"cd /var/lib/notebook/tls; {openssl} -subj /CN=school -keyout key.pem -out cert.pem")
    guest.run("echo room2.school > /var/lib/notebook/machines/carl")
    guest.run(f"chown -R {hub}: /var/lib/notebook")
    call(one, "backup", "setup", "--to", "/var/backups/{host}")
    assert call(one, "backup", "run")["consistent"] is True
    before = tree(guest)
    accounts = guest.run("cat /var/lib/notebook/accounts.json")

    one.replace("sage-01", FILES)
    # The password that opens it is kept on this host: nothing was to be remembered.
    assert "password" not in call(one, "backup", "setup", "--to", "/var/backups/{host}")
    told = call(one, "restore", "sage-01", "--all", "--yes")
    assert (told["left"], told["renumbered"]) == ([], [])
    guest.wait(240)
    after = tree(guest)
    assert sorted(set(before) ^ set(after)) == []
    assert {path: (told, after[path]) for path, told in before.items() if told != after[path]} == {}
    assert json.loads(guest.run("cat /var/lib/notebook/accounts.json")) == json.loads(accounts)
    assert guest.run("getent shadow sageadm").split(":")[1] == "$y$hash"
    assert guest.run("hostname") == "room12-07\n"
    assert "CN=school" in guest.run(
        "openssl x509 -in /var/lib/notebook/tls/cert.pem -noout -subject"
    ).replace(" ", "")
    emmy = Student(guest.host.url, "emmy", password).sign_in().start()
    assert "noether" in emmy.kernel().shell("cat link/ideal")
