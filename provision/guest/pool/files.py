"""Students' files: one directory per student, owned by a number of that student's own.

The directory's owner is the register of those numbers, and what quotas are counted by.
"""

import contextlib
import ctypes
import os
import shutil
import stat
import struct
import syslog
from collections.abc import Iterable
from pathlib import Path

from provision.guest.pool.archives import archives, remove
from provision.guest.whole import locking

STUDENTS = range(50000, 60000)
COURSES = range(49000, 50000)
WELCOME = Path("/etc/notebook/welcome")  # the files with which a student begins
QUOTACTL_FD = 443  # the same number on every architecture
# Of a quota, per file. The disk of /home has twice as many (``jeos.disk.HOME_BYTES_PER_FILE``).
BYTES_PER_FILE = 16384
# In the mode of a directory that was made before its student first came, for a course's teacher:
# nothing of anybody's is in it. The first session takes it away.
AHEAD = stat.S_ISVTX
SET_USER_QUOTA = 0x800008 << 8  # QCMD(Q_SETQUOTA, USRQUOTA), linux/quota.h


def student_directory(directory: Path, student: str, *, ahead: bool = False) -> Path:
    """Find a student's directory, or make it with the next free number as its owner.

    Args:
        directory: the directory of all students' directories, on a real file system.
        student: the student's name, checked.
        ahead: the student has not come yet; until then a new directory is marked as AHEAD.

    Raises:
        OSError: no number is left, or the directory is not what we made.
    """
    path = directory / student
    with contextlib.suppress(FileNotFoundError):
        return _ours(path)
    with locking(directory):
        with contextlib.suppress(FileNotFoundError):
            return _ours(path)
        taken = {entry.stat(follow_symlinks=False).st_uid for entry in os.scandir(directory)}
        taken |= {archive.number for archive in archives(directory)}
        number = free_number(STUDENTS, taken)
        fresh = directory / f".new-{student}"
        remove(fresh)  # of a session that was cut off; it may be half of something
        fresh.mkdir(mode=0o700)
        if ahead:
            fresh.chmod(0o700 | AHEAD)
        os.chown(fresh, number, number)
        for file in WELCOME.iterdir() if WELCOME.is_dir() else ():
            os.chown(shutil.copy(file, fresh), number, number)
        fresh.rename(path)
    return path


def free_number(numbers: range, taken: Iterable[int]) -> int:
    """The next number after those that are taken.

    Raises:
        OSError: none is left.
    """
    number = max((each for each in taken if each in numbers), default=numbers[0] - 1) + 1
    if number not in numbers:
        raise OSError(f"all numbers up to {numbers[-1]} are taken")
    return number


def limit_disk(files: Path, owner: int, quota: int) -> None:
    """Set a number's disk quota; a file system without quotas is reported, not refused.

    Args:
        files: a directory of its file system.
        owner: the number.
        quota: bytes.

    By quotactl_fd(2), Linux 5.14: the tools want the disk's device, which sessions do not see.
    """
    # struct if_dqblk: hard and soft limit, use; the same of inodes; two times; what is valid.
    limits = struct.pack(
        "=8QI", quota // 1024, 0, 0, max(quota // BYTES_PER_FILE, 1000), 0, 0, 0, 0, 1 | 4
    )
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(files, os.O_RDONLY | os.O_DIRECTORY)
    if libc.syscall(QUOTACTL_FD, descriptor, SET_USER_QUOTA, owner, limits):
        why = os.strerror(ctypes.get_errno())
        syslog.syslog(syslog.LOG_WARNING, f"no quota for {files}: {why}")
    os.close(descriptor)


def read_untrusted(path: Path, longest: int) -> str:
    """Read a file where somebody else may have put a link, a pipe, or no end.

    Args:
        path: the file; only its last part is not trusted.
        longest: bytes that are read.

    Raises:
        FileNotFoundError: it is not there.
        OSError: it is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is no file")
        return file.read(longest).decode(errors="replace")


def _ours(path: Path) -> Path:
    status = path.lstat()
    if not path.is_dir() or path.is_symlink():
        raise OSError(f"{path} is not a directory")
    if status.st_uid not in STUDENTS:
        raise OSError(f"{path} is owned by {status.st_uid}, not by a student's number")
    return path
