"""In a box: a language that is begun once, and forked for each who runs cells or tests in it.

A child has namespaces of its own (processes, mounts with an empty /tmp, network, IPC, host name),
so it sees neither another child nor what one has left; it has no capability, and the box's filter
of system calls without the holes that are needed to make those. Its line to who asked is its own.

A request is a JSON object on standard input, a SOCK_SEQPACKET socket, with three descriptors: what
the child reads, where it writes, and a socket by whose end it is ended, and which says how it did.
"""

import ctypes
import fcntl
import gc
import json
import os
import resource
import shutil
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from provision.guest.assignments import examiner, pupil
from provision.guest.assignments.forks import Fork, Forks
from provision.guest.nursery import fresh, imports
from provision.guest.nursery.settle import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    set_capabilities,
)
from provision.guest.sandbox import box, seccomp
from provision.guest.sandbox.limits import Verdict

PROGRAMS = {"pupil": pupil.main, "examiner": examiner.main}
# What bubblewrap is asked for, so that this can be done.
ALLOWED = ("unshare", "mount")
CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_NET_ADMIN")
PROCESSES = 4  # of ours, while two children run: this one, bubblewrap's, each child's first
_LONGEST = 4096  # bytes of a request
_LINE, _FREE = 3, 16  # descriptors of a program that is no Python; none of ours
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID, NEWNET
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 0x40000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ForkSpec:
    """What a child is to be.

    Args:
        program: of ``PROGRAMS``; what ``command`` has is told apart by it alone.
        seconds: that one thing which it does may take.
        clock: seconds until it is ended.
        cpu: seconds of processor time of each of its processes.
        disk: bytes of its /tmp.
        tasks: processes and threads of the box, at which it has no further ones.
        command: a language's own program and its arguments, which it becomes; none: the language
            is Python. It has the line as descriptors 3 and 4.
    """

    program: str
    seconds: int
    clock: float
    cpu: int
    disk: int
    tasks: int
    command: Sequence[str] = ()


def main(*, sage: bool = False, shell: bool = True) -> None:
    """Serve standard input until it ends.

    Args:
        sage: whether the language is Sage's.
        shell: whether it is Python at all, and a child has use for its shell.
    """
    control = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    # A child's first process is the child of one that ends before it.
    box.become_reaper()
    if shell:
        imports.load_all(pupil.SHELL)
    if sage:
        imports.load_sage()
    gc.collect()
    gc.freeze()

    def take() -> Fork | None:
        message, descriptors, *_ = socket.recv_fds(control, _LONGEST, 3)
        if not message:
            raise EOFError
        return _fork(ForkSpec(**json.loads(message)), *descriptors, sage=sage)

    Forks(control, take).serve()


def _fork(spec: ForkSpec, reading: int, writing: int, life: int, *, sage: bool) -> Fork | None:
    """Have a child in namespaces of its own; who asked is told why there is none."""
    asker = socket.socket(fileno=life)
    told, telling = os.pipe2(os.O_CLOEXEC)
    if not (between := os.fork()):
        try:
            os.setsid()
            # Those of processes are for who is forked from now on, and for once.
            _call("unshare", _NAMESPACES)
            _mount(spec.disk)
            _raise_loopback()
            _drop_capabilities()
            # By the first its end is known, however little the kernel says that it has used.
            resource.setrlimit(resource.RLIMIT_CPU, (spec.cpu, spec.cpu + 1))
            resource.setrlimit(resource.RLIMIT_NPROC, (spec.tasks, spec.tasks))
            seccomp.load(seccomp.program())
            if first := os.fork():
                os.write(telling, f"{first}".encode())
            else:
                _be_first(spec, reading, writing, sage=sage)
        except BaseException as error:
            os.write(telling, f"{error}"[:1000].encode() or b"error")
        finally:
            os._exit(1)
    for each in (telling, reading, writing):
        os.close(each)
    said = os.read(told, 1024)
    os.close(told)
    os.waitpid(between, 0)
    if said.isdigit():
        return Fork(int(said), asker, time.monotonic() + spec.clock, spec.cpu)
    with suppress(OSError):
        asker.send(f"{Verdict.SETUP.value}: ".encode() + said)
    asker.close()
    return None


def _be_first(spec: ForkSpec, reading: int, writing: int, *, sage: bool) -> NoReturn:
    """Be the first process of the namespaces: buries its orphans, and ends when the child does."""
    try:
        if not (child := os.fork()):
            _run(spec, reading, writing, sage=sage)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        status = -1
        pid = 0
        while pid != child:
            pid, status = os.wait()
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    finally:
        os._exit(1)


def _run(spec: ForkSpec, reading: int, writing: int, *, sage: bool) -> NoReturn:
    try:
        if spec.command:
            _become(spec.command, reading, writing)
        os.dup2(reading, 0)
        os.dup2(writing, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        fresh.draw_anew()
        PROGRAMS[spec.program](spec.seconds, sage=sage)
        os._exit(0)
    finally:
        os._exit(1)


def _become(command: Sequence[str], reading: int, writing: int) -> NoReturn:
    """Be another program, of whose own streams nothing is anybody's."""
    for number, ours in ((_LINE, reading), (_LINE + 1, writing)):
        os.dup2(fcntl.fcntl(ours, fcntl.F_DUPFD, _FREE), number)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.closerange(_LINE + 2, os.sysconf("SC_OPEN_MAX"))
    os.execv(command[0], list(command))  # noqa: S606 - it is the appliance's


def _mount(disk: int) -> None:
    """An empty /tmp in place of ours, with what was put into the home directory as we began."""
    place = Path(os.environ["HOME"])
    temporary = place.parent
    before = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY)
    _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)
    options = f"size={disk},nr_inodes={box.INODES},mode=1777"
    flags = _MS_NOSUID | _MS_NODEV
    _call("mount", b"tmpfs", os.fsencode(temporary), b"tmpfs", flags, options.encode())
    os.fchdir(before)
    shutil.copytree(".", temporary, symlinks=True, dirs_exist_ok=True)
    os.close(before)
    os.chdir(place)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        flags = ctypes.create_string_buffer(struct.pack("16sH22x", b"lo", _IFF_UP))
        _call("ioctl", asking.fileno(), _SIOCSIFFLAGS, flags)


def _drop_capabilities() -> None:
    _call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    set_capabilities(0)


def _call(name: str, *arguments: Any) -> None:
    words = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    if getattr(_libc, name)(*words):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
