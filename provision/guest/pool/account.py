"""What root does around a session on a pool account, called by pam_exec.

When a session opens: make sure that nothing of the last one is left, give the account an empty
home, and put the student's files there. When it closes: end every process of the account.

In an exam (``exams``) the session has the exam's files and nothing else of the student's.

The student's files (``files``) are owned by a number of the student's own; an idmapped mount shows
them to the account as its own. So do others for the student's courses. All mounts are made in the
session's private mount namespace (pam_namespace made it) and end with it.

Configuration: ``/etc/notebook/pool.conf``, ``key = value`` lines as in ``PoolSettings``.
"""

import contextlib
import datetime
import fcntl
import json
import os
import pwd
import signal
import subprocess
import sys
import syslog
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from provision.guest import record
from provision.guest.pool import exams
from provision.guest.pool.certificate import session_of
from provision.guest.pool.courses import View, read_courses, views
from provision.guest.pool.entitlement import Share, share_of
from provision.guest.pool.files import limit_disk, student_directory
from provision.guest.pool.session import EXAM
from provision.waiting import until

CONFIGURATION = Path("/etc/notebook/pool.conf")
MIRRORS = Path("/etc/notebook/hosts")  # with the mirrors' addresses, where sessions reach them
JOURNAL = Path("/run/systemd/journal")  # root's own lines
SESSIONS_JOURNAL = Path("/run/systemd/journal.sessions/stdout")  # what sessions say, apart
MEMORY_PARTS = 8  # of a session's memory, one at most for each of its places in memory
IN_MEMORY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - pam_namespace's, the session's own
NURSERIES = Path("/run/nursery")  # where sessions ask for kernels
USAGE = Path("/run/notebook-usage")  # what sessions use, a directory for each account
TERMINALS = 64  # of one session; the system's own are 4096, for everybody
CHANGED = Path("/run/systemd/system.control")  # what set-property --runtime has changed
GRACE_SECONDS = 3.0
REAP_SECONDS = 10.0


@dataclass(frozen=True)
class PoolSettings:
    """The pool's settings.

    Args:
        directory: holds one directory per student.
        home_size: size of a session's own home, bytes.
    """

    directory: Path
    home_size: int


def read_settings(path: Path = CONFIGURATION) -> PoolSettings:
    """Read the pool's settings.

    Raises:
        KeyError: one is missing.
    """
    lines = path.read_text().splitlines()
    values = {
        key.strip(): value.strip()
        for key, mark, value in (line.partition("=") for line in lines)
        if mark and not key.startswith("#")
    }
    return PoolSettings(
        directory=Path(values["directory"]),
        home_size=int(values["home_size"]),
    )


def open_session(user: str, auth_info: str, settings: PoolSettings) -> None:
    """Prepare the account for one student's session.

    Args:
        user: the pool account.
        auth_info: what sshd tells about the sign-in, see ``certificate``.
        settings: the pool's settings.

    Raises:
        ValueError: the sign-in names no student, or the student's exam is paused.
        OSError, CalledProcessError: the account cannot be made clean or the files not be mounted.
    """
    account = pwd.getpwnam(user)
    student, profile = session_of(auth_info)
    shares, courses = record.shares(), read_courses(settings.directory)
    share = share_of(student, profile, shares)
    now = datetime.datetime.now(datetime.UTC)
    exam = exams.exam_of(settings.directory, student, courses, now)
    if exam and exam.paused:
        raise ValueError(f"{exam.name} of {student} is paused")
    with _turn(user, settings) as turn:
        reap(account.pw_uid, grace=0)
        turn.write_text(str(os.getppid()))
    files = student_directory(settings.directory, student)
    owner = files.stat().st_uid
    limit_account(account.pw_uid, share, usual=share_of("", "", shares))
    if share.disk:
        limit_disk(files, owner, share.disk + (exams.ROOM if exam else 0))
    exams.close_network(user, account.pw_uid, exam)
    files.chmod(0o700)  # also for who closed the own files, and would never get in again
    home = Path(account.pw_dir)
    size = place_size(settings, share)
    if size < settings.home_size:
        for place in IN_MEMORY:
            _mount("-o", f"remount,nosuid,nodev,size={size}", place)
    options = f"size={size},mode=0700,uid={account.pw_uid},gid={account.pw_gid}"
    _mount("-t", "tmpfs", "-o", f"nosuid,nodev,{options}", "tmpfs", str(home))
    work = home / "work"
    work.mkdir(mode=0o700)
    if exam:
        _show_exam(exam, student, settings, account)
    else:
        _show(files, work, account, "nosuid,nodev")
    if not exam and (shown := list(views(settings.directory, student, courses))):
        _show_courses(home / "courses", shown, account)
        with contextlib.suppress(OSError):  # what the student has there stays
            (files / "courses").symlink_to("../courses")
            os.chown(files / "courses", owner, owner, follow_symlinks=False)
    options = f"nosuid,noexec,ptmxmode=0666,mode=0620,gid=tty,max={TERMINALS}"
    _mount("-t", "devpts", "-o", options, "devpts", "/dev/pts")
    if MIRRORS.exists():
        _mount("--bind", str(MIRRORS), "/etc/hosts")
    (USAGE / user / "usage.json").unlink(missing_ok=True)  # the last session's; the next follows
    forks = not exam and profile not in shares.get("started", ())
    _hide_services(home, USAGE / user, forks=forks, exam=exam)
    syslog.syslog(f"{user} is open for {student}{f' in {exam.name}' if exam else ''}")


def place_size(settings: PoolSettings, share: Share) -> int:
    """How much fits into each of a session's places in memory: its home, /tmp, /var/tmp, /dev/shm.

    Together they take half of the session's memory at most: who fills them reads that there is no
    space left, and the session goes on.
    """
    return min(settings.home_size, share.memory // MEMORY_PARTS)


def close_session(user: str, settings: PoolSettings) -> None:
    """End everything that the account still runs, unless it is the next session's already.

    Args:
        user: the pool account.
        settings: the pool's settings.

    Raises:
        OSError: a process does not end.
    """
    with _turn(user, settings) as turn:
        if turn.read_text() == str(os.getppid()):
            reap(pwd.getpwnam(user).pw_uid, grace=GRACE_SECONDS)
            syslog.syslog(f"{user} is closed")


def reap(uid: int, *, grace: float) -> None:
    """End all processes of a user, whatever state they show.

    Nothing is asked first: one kill reaches everything that the user has, and what it has reached
    makes no new process (fork(2) refuses who has a signal to take). So whoever is found afterwards
    was there before, and when nobody is, nobody comes.

    Args:
        uid: the user; never 0.
        grace: seconds between the request to end and the kill.

    Raises:
        OSError: a process is still there after 10 s, or nobody could ask it to end.
    """
    if uid < 1000:
        raise OSError(f"will not end the processes of the system's user {uid}")
    if grace:
        _signal_all(uid, signal.SIGTERM)
        until(lambda: not any(_processes(uid)), grace, pause=0.02)
    if not until(
        lambda: _signal_all(uid, signal.SIGKILL) and not any(_processes(uid)),
        REAP_SECONDS,
        pause=0.01,
    ):
        raise OSError(f"processes of user {uid} do not end: {sorted(_processes(uid))[:10]}")


def main() -> None:
    """Do what PAM asks; any failure refuses the session."""
    syslog.openlog("notebook-account", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    os.umask(0o022)
    user = os.environ["PAM_USER"]
    try:
        match os.environ["PAM_TYPE"]:
            case "open_session":
                open_session(user, os.environ.get("SSH_AUTH_INFO_0", ""), read_settings())
            case "close_session":
                close_session(user, read_settings())
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        syslog.syslog(syslog.LOG_ERR, f"{user}: {error}")
        sys.exit(1)


@contextlib.contextmanager
def _turn(user: str, settings: PoolSettings) -> Iterator[Path]:
    """Let one session of an account open or close at a time.

    The file says which one has the account, by its sshd's number, which calls us for both. It is
    beside the students' files because a session's own /run is not the system's.
    """
    path = settings.directory / f".{user}"
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(descriptor)


def _show(files: Path, place: Path, account: pwd.struct_passwd, options: str) -> None:
    """Show an account a directory as its own: what it makes there is its owner's."""
    owner = files.stat().st_uid
    identity = f"X-mount.idmap=u:{owner}:{account.pw_uid}:1 g:{owner}:{account.pw_gid}:1"
    _mount("--bind", "-o", f"{options},{identity}", str(files), str(place))


def _show_courses(home: Path, shown: list[View], account: pwd.struct_passwd) -> None:
    home.mkdir()
    for view in shown:
        place = home / view.place
        place.mkdir(parents=True)
        _show(view.files, place, account, view.options)


def _show_exam(
    exam: exams.Exam, student: str, settings: PoolSettings, account: pwd.struct_passwd
) -> None:
    """Show an exam's files in the place of the student's, and nothing of what it does without."""
    work = exams.make_work(settings.directory, exam, student)
    place = Path(account.pw_dir) / "work"
    _show(work, place, account, "nosuid,nodev")
    if view := exams.material_of(settings.directory, exam, work):
        _show(view.files, place / view.place, account, view.options)
    for path in exams.omissions(exam):
        if path.is_dir():
            _mount("-t", "tmpfs", "-o", "ro,nosuid,nodev,noexec,size=4k", "tmpfs", str(path))
        else:
            _mount("--bind", "-o", "ro,nosuid,noexec", os.devnull, str(path))
    for settled, usual in exams.SETTINGS.items():
        _mount("--bind", "-o", "ro", str(settled), str(usual))


def _hide_services(home: Path, usage: Path, *, forks: bool, exam: exams.Exam | None) -> None:
    """Leave of /run only where to log, the session's own usage, and where to ask for kernels.

    In an exam also what the session's server is told.

    The system's services are not a session's, and its journal is root's, who logs here, too: what
    a session says goes to a journal of the sessions', which is limited by itself.

    The system bus, for one, would tell every process's command line, whatever /proc hides.
    """
    fresh = home / ".run"
    fresh.mkdir()
    options = "nosuid,nodev,noexec,size=64k,mode=0755"
    _mount("-t", "tmpfs", "-o", options, "tmpfs", str(fresh))
    place = fresh / JOURNAL.relative_to("/run")
    place.parent.mkdir(mode=0o700)
    place.mkdir()
    _mount("--bind", str(JOURNAL), str(place))
    (fresh / "journal").touch(mode=0o600)
    _mount("--bind", str(SESSIONS_JOURNAL), str(fresh / "journal"))
    if usage.is_dir():
        (fresh / "usage").mkdir()
        _mount("--bind", "-o", "ro", str(usage), str(fresh / "usage"))
    if forks and NURSERIES.is_dir():
        (fresh / NURSERIES.name).mkdir()
        _mount("--bind", "-o", "ro", str(NURSERIES), str(fresh / NURSERIES.name))
    if exam:
        told = fresh / EXAM.name
        told.write_text(json.dumps({"arguments": exams.arguments(exam)}))
        told.chmod(0o644)
    _mount("-o", f"remount,ro,{options}", str(fresh))
    _mount("--rbind", str(fresh), "/run")
    subprocess.run(["/usr/bin/umount", "-R", str(fresh)], check=True)
    fresh.rmdir()


def limit_account(uid: int, share: Share, *, usual: Share) -> None:
    """Give an account the limits of this session, where they are not those of every session.

    Args:
        uid: the account.
        share: of the session's student.
        usual: of everybody.

    Raises:
        CalledProcessError: the system's manager refuses.
    """
    changed = CHANGED / f"user-{uid}.slice.d"
    if (share.memory, share.cpu) != (usual.memory, usual.cpu) or changed.exists():
        limits = (f"MemoryMax={share.memory}", f"CPUQuota={share.cpu}%")
        command = ["/usr/bin/systemctl", "set-property", "--runtime", f"user-{uid}.slice", *limits]
        subprocess.run(command, check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["/usr/bin/mount", *arguments], check=True)


def _processes(uid: int) -> Iterator[int]:
    """The processes of a user that have a thread which still runs.

    A process whose first thread has ended shows as a zombie, however much its others do.
    """
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if entry.stat().st_uid == uid and any(map(_runs, _threads(entry.path))):
                    yield int(entry.name)


def _threads(process: str) -> Iterator[str]:
    for thread in os.listdir(f"{process}/task"):  # noqa: PTH208 - one word each, 3 times as fast
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield Path(process, "task", thread, "stat").read_text(errors="replace")


def _runs(stat: str) -> bool:
    """Whether a thread runs, by its ``stat``: the state follows the name, which may hold ``)``."""
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _signal_all(uid: int, number: signal.Signals) -> bool:
    """Signal all processes of a user at once; tell whether it was done.

    A child with that user's identity sends it to -1, which no fork can outrun. Those who are
    meant may signal the child, too: then it is not done, but can be tried again.

    Raises:
        OSError: the child cannot take that identity, or not send.
    """
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(uid, uid, uid)
            with contextlib.suppress(ProcessLookupError):  # there is none
                os.kill(-1, number)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    _, status = os.waitpid(child, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False
    code = os.waitstatus_to_exitcode(status)
    if code > 0:
        raise OSError(code, f"nobody signals the processes of user {uid}: {os.strerror(code)}")
    return code == 0


if __name__ == "__main__":
    main()
