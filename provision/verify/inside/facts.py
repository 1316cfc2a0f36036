"""Run in the guest as root: print what is there, as JSON. Python's standard library only.

The one argument is JSON: {"admin": account, "pool": [accounts], "part": "all" or "identity"}.
"""

import grp
import json
import os
import pwd
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Facts = dict[str, Any]

BOOT_SECONDS = "240"
PATHS = ("/etc/shadow", "/etc/sudoers", "/root", "/tmp", "/var/tmp", "/home")  # noqa: S108


def run(*argv: str, timeout: float = 300) -> str:
    """What a command printed; nothing when it is missing or hangs."""
    try:
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def charmap() -> str:
    """The character set of the system's locale; the C library takes C for one that is not there."""
    name = pairs(text("/etc/locale.conf") or text("/etc/default/locale") or "").get("LANG", "")
    return run("env", f"LC_ALL={name.strip(chr(34))}", "locale", "charmap").strip()


def timezone() -> str:
    """The time zone's name; none where /etc/localtime leads nowhere, which is UTC then."""
    link = Path("/etc/localtime")
    if not (link.is_symlink() and link.exists()):
        return ""
    return str(link.readlink()).partition("zoneinfo/")[2]  # a zone may itself be a link to another


def keyboard() -> dict[str, str]:
    """The console's keyboard; without a layout that cannot be made into a keymap."""
    found = pairs((text("/etc/default/keyboard") or "").replace('"', ""))
    if status("ckbcomp", "-model", "pc105", found.get("XKBLAYOUT", ""))["status"]:
        found.pop("XKBLAYOUT", None)
    return found


def status(*argv: str, timeout: float = 300) -> Facts:
    """A command's exit status and what it printed last, on either stream."""
    try:
        done = subprocess.run(
            argv, check=False, text=True, timeout=timeout, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"status": -1, "told": str(error)}
    return {"status": done.returncode, "told": done.stdout[-500:]}


def text(path: str | Path) -> str | None:
    """A file's content; None when it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return None


def look_up(path: str | Path) -> Facts | None:
    """Owner, group, mode and kind of a path; None when it is not there."""
    try:
        entry = os.lstat(path)
    except OSError:
        return None
    return {
        "owner": entry.st_uid, "group": entry.st_gid, "mode": stat.S_IMODE(entry.st_mode),
        "directory": stat.S_ISDIR(entry.st_mode), "size": entry.st_size,
    }  # fmt: skip


def pairs(output: str, separator: str = "=") -> dict[str, str]:
    """Lines of ``key=value`` as a dictionary."""
    return dict(line.split(separator, 1) for line in output.splitlines() if separator in line)


def packages() -> dict[str, str]:
    """Installed packages and their versions."""
    lines = run("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n")
    rows = (line.split() for line in lines.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}


def accounts() -> Facts:
    """Every account, with what kind of password it has (never the hash itself)."""
    passwords = pairs(text("/etc/shadow") or "", ":")
    kinds = {}
    for name, rest in passwords.items():
        field = rest.split(":", 1)[0]
        kinds[name] = "none" if not field else "locked" if field[0] in "!*" else "set"
    return {
        entry.pw_name: {
            "uid": entry.pw_uid, "group": grp.getgrgid(entry.pw_gid).gr_name,
            "home": entry.pw_dir, "shell": entry.pw_shell,
            "password": kinds.get(entry.pw_name, "none"), "home_entry": look_up(entry.pw_dir),
        }
        for entry in pwd.getpwall()
    }  # fmt: skip


def mounts() -> Facts:
    """Mounted file systems of disks, with their UUID and the share kept for root."""
    listed = json.loads(
        run("findmnt", "--json", "--list", "--real", "-o", "TARGET,SOURCE,UUID,FSTYPE,OPTIONS")
        or '{"filesystems": []}'
    )
    result: Facts = {}
    for entry in listed["filesystems"]:
        reserve = None
        if entry["fstype"] == "ext4":
            values = pairs(run("dumpe2fs", "-h", entry["source"]), ":")
            blocks = int(values.get("Block count", 0))
            reserve = 100 * int(values.get("Reserved block count", 0)) / blocks if blocks else None
        result[entry["target"]] = {
            "source": entry["source"], "uuid": entry["uuid"], "filesystem": entry["fstype"],
            "options": entry["options"].split(","), "reserve": reserve,
            "disk": run("lsblk", "-no", "PKNAME", entry["source"]).strip() or entry["source"],
        }  # fmt: skip
    return result


def units() -> Facts:
    """State of every unit: loaded ones' activity, installed ones' enablement."""
    active = json.loads(run("systemctl", "list-units", "--all", "--output=json") or "[]")
    files = json.loads(run("systemctl", "list-unit-files", "--output=json") or "[]")
    result = {row["unit"]: {"active": row["active"], "sub": row["sub"]} for row in active}
    for row in files:
        result.setdefault(row["unit_file"], {"active": "inactive", "sub": "dead"})
        result[row["unit_file"]]["enabled"] = row["state"]
    return result


def listeners() -> list[Facts]:
    """TCP sockets that listen: address, port, and the program."""
    result: list[Facts] = []
    for line in run("ss", "-Hltnp").splitlines():
        fields = line.split()
        address, _, port = fields[3].rpartition(":")
        program = re.search(r'"([^"]+)"', line)
        result.append({
            "address": address.strip("[]").split("%")[0], "port": int(port),
            "program": program[1] if program else "",
        })  # fmt: skip
    return result


def pool_sign_ins(admin: str, pool: list[str]) -> dict[str, str]:
    """What the admin gets who signs in to each pool account with the guest's own key."""
    running = {
        account: subprocess.Popen(
            ["runuser", "-u", admin, "--", "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60",
             "-i", f"{pwd.getpwnam(admin).pw_dir}/.ssh/id_ed25519",
             f"{account}@localhost", "id", "-un"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for account in pool
    }  # fmt: skip
    return {account: process.communicate()[0].strip() for account, process in running.items()}


def mail(admin: str) -> bool:
    """Whether a letter to root, of a line that mail systems refuse, is in the admin's mailbox."""
    mark = f"verify-{time.time_ns()}"
    try:
        subprocess.run(["mail", "-s", mark, "root"], check=False, input="x" * 2000, text=True)
    except FileNotFoundError:
        return False
    for _ in range(100):
        if mark in (text(f"/var/mail/{admin}") or ""):
            return True
        time.sleep(0.1)
    return False


def host_keys() -> Facts:
    """Fingerprint of each SSH host key, and its private file's mode."""
    result: Facts = {}
    for public in sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub")):
        fields = run("ssh-keygen", "-lf", str(public)).split()
        result[public.name] = {
            "fingerprint": fields[1] if len(fields) > 1 else "",
            "private": look_up(public.with_suffix("")),
        }
    return result


def sshd(admin: str) -> dict[str, str]:
    """The SSH server's effective options for the administrator."""
    options = run("sshd", "-T", "-C", f"user={admin},host=127.0.0.1,addr=127.0.0.1")
    return pairs(options, " ")


def authorized_keys(admin: str) -> list[str]:
    """Every key that opens the administrator's account, from all files that sshd reads for it."""
    home = pwd.getpwnam(admin).pw_dir
    names = sshd(admin).get("authorizedkeysfile", "").split()
    paths = [Path(home, name.replace("%h", home).replace("%u", admin)) for name in names]
    lines = [line.strip() for path in paths for line in (text(path) or "").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def identity(admin: str) -> Facts:
    """What every copy of the image makes for itself, and how soon one could sign in."""
    started, ready = (
        int(run("systemctl", "show", "-P", "ActiveEnterTimestampMonotonic", unit) or 0) / 1e6
        for unit in ("ssh.service", "basic.target")
    )
    return {
        "machine_id": (text("/etc/machine-id") or "").strip(),
        "host_keys": host_keys(),
        "ssh_started": started,
        "ssh_waited": started - ready,
        "home_mounted": os.path.ismount("/home"),
        "authorized_keys": authorized_keys(admin),
    }


def everything(admin: str, pool: list[str]) -> Facts:
    """All facts."""
    state = run("timeout", BOOT_SECONDS, "systemctl", "is-system-running", "--wait").strip()
    known = accounts()
    return {
        "state": state,
        "failed_units": [
            row["unit"]
            for row in json.loads(run("systemctl", "--failed", "--output=json") or "[]")
        ],
        "jobs": run("systemctl", "list-jobs", "--no-legend", "--plain").strip(),
        "os_release": pairs((text("/etc/os-release") or "").replace('"', "")),
        "kernel": os.uname().release,
        "hostname": os.uname().nodename,
        "virtualization": run("systemd-detect-virt").strip(),
        "uptime": float((text("/proc/uptime") or "0").split()[0]),
        "packages": packages(),
        "accounts": known,
        "groups": {entry.gr_name: entry.gr_mem for entry in grp.getgrall()},
        "mounts": mounts(),
        "fstab": text("/etc/fstab"),
        "swaps": (text("/proc/swaps") or "").splitlines()[1:],
        "units": units(),
        "listeners": listeners(),
        "locale": pairs(text("/etc/locale.conf") or text("/etc/default/locale") or ""),
        "locales": run("locale", "-a").split(),
        "charmap": charmap(),
        "timezone": timezone(),
        "keyboard": keyboard(),
        "sshd": sshd(admin),
        "journald": run("systemd-analyze", "cat-config", "systemd/journald.conf"),
        "journal_bytes": run("journalctl", "--disk-usage").strip(),
        "journal_persistent": Path("/var/log/journal").is_dir(),
        "apt": run("apt-config", "dump"),
        "unattended": status("unattended-upgrade", "--dry-run"),
        "sudo": {
            account: status("sudo", "-n", "-l", "-U", account)
            for account in (admin, *pool[:1]) if account in known
        },
        "pool_sign_ins": pool_sign_ins(admin, [a for a in pool if a in known])
        if admin in known else {},
        "mail": mail(admin),
        "paths": {
            path: look_up(path)
            for path in PATHS
        },
    }  # fmt: skip


def main() -> None:
    """Print the facts that were asked for."""
    asked = json.loads(sys.argv[1])
    facts = identity(asked["admin"])
    if asked["part"] == "all":
        facts |= everything(asked["admin"], asked["pool"])
    json.dump(facts, sys.stdout)


main()
