"""Whose the hub's own files are, seen to by root before hub, proxy and pool start.

The hub has a user of its own. An appliance of an earlier version, its backup and its root disk
have the hub's files as the administrator's: they become the hub's, and sessions that the
administrator's user still holds end, for nobody else could end them. Root follows no link here:
the place is the hub's to write.

The key that signs sessions' certificates is made when there is none. Where other machines lend
accounts, they trust the administrator's key of before: the hub goes on with that one.
"""

import contextlib
import fcntl
import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from provision.guest import record, typed
from provision.guest.pool.connection import KNOWN_HOSTS, account_of

STATE = Path("/var/lib/notebook")
KEY = "id_ed25519"
WRITE = ("sh", "-c", 'umask 077 && cat > "$1.new" && sync "$1.new" && mv "$1.new" "$1"', "sh")


@typed.reporting_damage()
def main() -> None:
    """Do it; the arguments are the hub's user and the administrator."""
    hub, admin = map(pwd.getpwnam, sys.argv[1:])
    turn = os.open(record.PLACE.parent, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)  # proxy and pool start at once; held until this ends
    end_sessions(STATE / "leases", admin.pw_uid)
    hand_over(STATE, hub, {0, admin.pw_uid})
    before = Path(admin.pw_dir, ".ssh")
    if any(not account_of(entry).local for entry in record.read().accounts):
        with contextlib.suppress(FileNotFoundError, FileExistsError), KNOWN_HOSTS.open("x") as new:
            new.write((before / "known_hosts").read_text())
    else:
        before = Path("/nonexistent")
    make_key(STATE / KEY, hub, like=before / KEY)


def hand_over(place: Path, to: pwd.struct_passwd, former: Collection[int]) -> None:
    """Give a directory and all in it that is a former owner's to another; itself comes last.

    A file with several names may be somebody's from elsewhere: it stays.

    Args:
        place: the directory.
        to: who gets it.
        former: numbers of the former owners.
    """
    for _, directories, files, at in os.fwalk(place, topdown=False):
        for name in (*directories, *files):
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                single = stat.S_ISDIR(found.st_mode) or found.st_nlink == 1
                if found.st_uid in former and single:
                    os.chown(name, to.pw_uid, to.pw_gid, dir_fd=at, follow_symlinks=False)
    if place.lstat().st_uid != to.pw_uid:
        os.chown(place, to.pw_uid, to.pw_gid, follow_symlinks=False)


def end_sessions(leases: Path, former: int) -> None:
    """End the sessions whose ssh is still a former owner's.

    Args:
        leases: the directory of ``leases.Leases``.
        former: the number of the former owner.
    """
    for lease in leases.iterdir() if leases.is_dir() else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if lease.lstat().st_uid == former:
                process = Path("/proc", str(int(lease.read_text().splitlines()[1])))
                if process.stat().st_uid == former and "ssh" in (process / "comm").read_text():
                    os.kill(int(process.name), signal.SIGTERM)


def make_key(key: Path, owner: pwd.struct_passwd, *, like: Path) -> None:
    """Make the key, if there is none that can be used.

    Args:
        key: where it is to be; its public half is beside it.
        owner: who makes it.
        like: one to use instead of a new one, if it is there.

    Raises:
        CalledProcessError: it cannot be made.
    """

    def run(*argv: str, given: bytes = b"", check: bool = True) -> bytes:
        """As the owner: what stands in the owner's directory is the owner's doing."""
        return subprocess.run(
            argv,
            input=given,
            stdout=subprocess.PIPE,
            check=check,
            stderr=None if check else subprocess.DEVNULL,
            user=owner.pw_uid,
            group=owner.pw_gid,
            extra_groups=[],
        ).stdout

    with contextlib.suppress(FileNotFoundError):
        found = like.read_bytes()
        if not key.exists():
            run(*WRITE, str(key), given=found)
    public = run("ssh-keygen", "-y", "-P", "", "-f", str(key), check=False)
    if not public:
        run("rm", "-f", str(key), f"{key}.pub")
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "notebook", "-f", str(key))
        public = run("ssh-keygen", "-y", "-P", "", "-f", str(key))
    told = f"{key}.pub"
    if run("cat", told, check=False).split()[:2] != public.split()[:2]:
        run(*WRITE, told, given=public)
    run("sync", str(key), told, str(key.parent))


if __name__ == "__main__":
    main()
