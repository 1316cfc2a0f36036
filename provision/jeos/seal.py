"""Seal a root file system: remove what is one build's own, so that equal builds are equal.

Works on the tree of a guest that is shut down. What goes is what a running system makes anew:
keys and identities, logs, caches, counters, and the traces of having been built.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

DAY_SECONDS = 86400

# Emptied: the directory stays.
EMPTIED = ("tmp", "run", "var/tmp", "var/backups", "var/mail")

# Deleted, as patterns of pathlib's glob.
DELETED = (
    # Identities and secrets of this one machine.
    "etc/ssh/ssh_host_*",
    "etc/ssh/ssh_known_hosts",
    "etc/ssh/pool_authorized_keys",
    "home/*/.ssh/id_*",
    "var/lib/notebook/*",
    "home/*/.ssh/known_hosts*",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/dbus/machine-id",
    "var/lib/dhcp/*",
    "var/lib/cloud",
    # The build's way in, and what it left.
    "etc/ssh/sshd_config.d/00-build.conf",
    "root/.ssh",
    "root/.ansible",
    "root/.ansible_async",
    "root/.cache",
    "root/.*_history",
    "root/.lesshst",
    "root/.wget-hsts",
    "home/*/.ansible",
    "home/*/.cache",
    "home/*/.*_history",
    "etc/.resolv.conf.systemd-resolved.bak",
    # Previous versions that tools keep of their files.
    "etc/passwd-",
    "etc/shadow-",
    "etc/group-",
    "etc/gshadow-",
    "etc/subuid-",
    "etc/subgid-",
    "etc/.pwd.lock",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/cache/debconf/*-old",
    "var/lib/ucf/*.[0-9]",
    # Caches, which name times, inodes or the order of the work.
    "var/lib/apt/lists/*",
    "var/lib/apt/periodic/*",
    "var/lib/apt/daily_lock",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/archives/lock",
    "var/cache/apt/archives/partial/*",
    "var/cache/ldconfig/aux-cache",
    "var/cache/fontconfig/*",
    "var/cache/man/*",
    # Counters and stamps.
    "var/lib/systemd/timers/*",
    "var/lib/systemd/timesync/*",
    "var/lib/systemd/linger/*",
    "var/lib/systemd/coredump/*",
    "var/lib/logrotate/status",
    "var/log/journal/*",
)


def seal(tree: Path, epoch: int) -> None:
    """Make a tree carry nothing of the machine and the moment that it was built on.

    Args:
        tree: the root file system of a guest that is not running.
        epoch: the day that passwords are of, in seconds since 1970.
    """
    for pattern in EMPTIED:
        for path in _matches(tree, f"{pattern}/*"):
            _delete(path)
    for pattern in DELETED:
        for path in _matches(tree, pattern):
            _delete(path)
    for directory in _matches(tree, "var/log"):
        _delete_logs(directory)
    _forget_identity(tree / "etc/machine-id")
    _date_passwords(tree / "etc/shadow", epoch // DAY_SECONDS)
    _point_resolver(tree)


def _matches(tree: Path, pattern: str) -> Iterator[Path]:
    """Find paths inside the tree only: a symbolic link to a directory may lead out of it."""
    for path in list(tree.glob(pattern)):
        if path.parent.resolve().is_relative_to(tree.resolve()):
            yield path


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _delete_logs(directory: Path) -> None:
    """Delete every log; the directories stay, which belong to packages and accounts."""
    if directory.is_symlink():
        return
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.unlink()


def _forget_identity(machine_id: Path) -> None:
    """Leave the file empty: filled on first boot, without the presets of machine-id(5)."""
    machine_id.unlink(missing_ok=True)
    machine_id.touch()
    machine_id.chmod(0o644)


def _date_passwords(shadow: Path, day: int) -> None:
    """Let every password, set or locked, be of one day; see shadow(5)."""
    if not shadow.exists():
        return
    lines = [line.split(":") for line in shadow.read_text().splitlines()]
    text = "".join(":".join([*line[:2], str(day), *line[3:]]) + "\n" for line in lines)
    shadow.write_text(text)


def _point_resolver(tree: Path) -> None:
    """Ask the name servers that the network names; the build had its own."""
    if not (tree / "usr/lib/systemd/systemd-resolved").exists():
        return
    link = tree / "etc/resolv.conf"
    link.unlink(missing_ok=True)
    link.symlink_to("../run/systemd/resolve/resolv.conf")
