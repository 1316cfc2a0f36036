"""Run one command in a bubblewrap box under limits, and leave nothing of it behind.

The box has its own user, process, network, IPC, host name and cgroup namespaces, a read-only
root, no capability, a system call filter, and one writable place: a memory file system of
bounded size on /tmp. Its /proc is read-only, so no process of it can write into another's
memory. What the box cannot do for itself is done by this process, from outside.
"""

import contextlib
import ctypes
import fcntl
import functools
import math
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from provision.errors import HostNotReadyError
from provision.guest.sandbox import processes, seccomp
from provision.guest.sandbox.cgroups import Cgroup, Delegation, settings
from provision.guest.sandbox.limits import Ended, Limits, Verdict

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp"}  # noqa: S108
_DEVICES = ("null", "zero", "full", "random", "urandom")
_CHUNK = 1 << 16
_TICK = 0.025  # seconds between looks at what the box uses
_DRAIN = 16  # times the output limit that a box may print before it is stopped
INODES = 150_000  # files in /tmp: each costs the kernel memory that no size limit counts
_INFO, _BLOCK, _FILTER, _FIRST_FREE = 3, 4, 5, 16  # descriptors in the child, and ours
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
_PR_SET_CHILD_SUBREAPER = 36
_filter_program = functools.cache(seccomp.program)  # to put it together takes half a millisecond


class Box(NamedTuple):
    """What to run, where, and within which limits.

    Args:
        root: the directory that is the box's root file system, mounted read-only.
        command: the program's absolute path in the box, and its arguments.
        limits: what it may use.
        environment: its whole environment.
        directory: where it starts.
        user, group: its user and group number inside.
        binds: host paths to show inside, read-only, by their path inside.
        devices: names below /dev that it may use, beside the harmless ones.
        writable: whether /tmp is a memory file system; False leaves the root's own, read-only.
        shares_network: leave it in our network namespace. Only for boxes that we trust.
        allowed: system calls that are fine in this box although the filter denies them.
        capabilities: what its program has over the box's own namespaces, as CAP_SYS_ADMIN. Only
            for boxes whose program we trust.
    """

    root: Path
    command: tuple[str, ...]
    limits: Limits = Limits()
    environment: Mapping[str, str] = MappingProxyType(ENVIRONMENT)
    directory: str = "/"
    user: int = 1000
    group: int = 1000
    binds: Mapping[str, Path] = MappingProxyType({})
    devices: tuple[str, ...] = ()
    writable: bool = True
    shares_network: bool = False
    allowed: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()

    def has(self, name: str) -> bool:
        """Whether the root has a directory to mount something on; a foreign one may not."""
        return (self.root / name).is_dir()


class Channels(NamedTuple):
    """Where the standard streams of a box go.

    Args:
        feed: read here and passed in as stdin; None: stdin is ours if not ``capture``, else empty.
        capture: keep stdout and stderr; else they are ours.
        on_first_output: called once with the process id of the box's first process when the
            first byte of stdout arrived, which is then dropped: the command's sign that
            everything is mounted.
        streams: descriptors that become its stdin, stdout and stderr, for who speaks with it
            while it runs; they are closed here. Instead of ``feed`` and ``capture``.
        stop: a descriptor; when it can be read, or its other end is closed, the box is ended.
    """

    feed: IO[bytes] | None = None
    capture: bool = True
    on_first_output: Callable[[int], None] | None = None
    streams: tuple[int, int, int] | None = None
    stop: int | None = None


def arguments(box: Box, *, bwrap: str, info: int, block: int, filter_: int) -> list[str]:
    """The bubblewrap command line of a box; the numbers are inherited file descriptors."""
    argv = [bwrap, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts"]
    argv += ["--unshare-cgroup-try", "--hostname", "sandbox", "--new-session", "--die-with-parent"]
    if not box.shares_network:
        argv += ["--unshare-net"]
    argv += ["--uid", str(box.user), "--gid", str(box.group)]
    argv += ["--ro-bind", str(box.root), "/"]
    for capability in box.capabilities:
        argv += ["--cap-add", capability]
    if box.has("proc"):
        argv += ["--proc", "/proc", "--remount-ro", "/proc"]
    if box.has("dev"):
        argv += _devices(box.devices)
    if box.writable and box.has("tmp"):
        argv += ["--size", str(box.limits.disk), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108
        if box.directory.startswith("/tmp/"):  # noqa: S108
            argv += ["--perms", "0700", "--dir", box.directory]
    for inside, outside in box.binds.items():
        argv += ["--ro-bind", str(outside), inside]
    argv += ["--chdir", box.directory, "--info-fd", str(info), "--block-fd", str(block)]
    return [*argv, "--seccomp", str(filter_), "--", *box.command]


def _devices(more: tuple[str, ...]) -> list[str]:
    argv = ["--size", "65536", "--tmpfs", "/dev"]
    for device in (*_DEVICES, *more):
        argv += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        argv += ["--symlink", f"/proc/self/fd/{number}", f"/dev/{name}"]
    argv += ["--symlink", "/proc/self/fd", "/dev/fd", "--symlink", "/tmp", "/dev/shm"]  # noqa: S108
    return [*argv, "--remount-ro", "/dev"]


def resource_limits(limits: Limits, *, grouped: bool) -> dict[int, int]:
    """The resource limits of each process in a box, by their number.

    Args:
        limits: the limits of the whole box.
        grouped: a cgroup bounds its memory; else no process may have more than all together.
    """
    table = {
        resource.RLIMIT_CORE: limits.core,
        resource.RLIMIT_CPU: max(1, math.ceil(limits.cpu)),
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_NOFILE: limits.files,
        # Counted within the box's own user namespace since Linux 5.14, so the boxes of one
        # service do not share it; bubblewrap's first process is one of them.
        resource.RLIMIT_NPROC: limits.tasks + 1,
        resource.RLIMIT_MEMLOCK: 1 << 16,
        resource.RLIMIT_MSGQUEUE: 1 << 16,
    }
    if limits.stack is not None:
        table[resource.RLIMIT_STACK] = limits.stack
    if limits.address_space is not None:
        table[resource.RLIMIT_AS] = limits.address_space
    if not grouped:
        table[resource.RLIMIT_DATA] = limits.data or limits.memory
    return table


def run(
    box: Box,
    channels: Channels | None = None,
    *,
    name: str = "box",
    delegated: Delegation | None = None,
) -> Ended:
    """Run a box to its end: blocking, one thread for each box, any number of them at a time.

    This process becomes the reaper of orphans, so that the end of a box is the end of every
    process in it, and their processor time is known.

    Args:
        box: what to run.
        channels: its standard streams.
        name: unique among running boxes; its cgroup is called so.
        delegated: the cgroup below which it gets its own; None: resource limits, and a look
            at /proc every 25 ms.

    Raises:
        HostNotReadyError: bubblewrap is not installed.
    """
    bwrap = _bubblewrap()
    become_reaper()
    with contextlib.ExitStack() as stack:
        group = None
        if delegated:
            group = delegated.group(name, settings(box.limits))
            stack.callback(group.remove)
        return _Run(box, channels or Channels(), group, stack, bwrap).to_end()


class _Run:
    """One run: the child, its pipes, and the loop that watches both."""

    def __init__(
        self,
        box: Box,
        channels: Channels,
        group: Cgroup | None,
        stack: contextlib.ExitStack,
        bwrap: str,
    ) -> None:
        self.limits, self.channels, self.group, self.stack = box.limits, channels, group, stack
        self.root, self.writable = box.root.stat(), box.writable
        self.shares_network = box.shares_network
        self.begun = time.monotonic()
        self.verdict: Verdict | None = None
        self.cpu, self.user, self.peak = 0.0, 0.0, 0
        self.kept: dict[int, bytearray] = {}
        self.seen: dict[int, int] = {}
        self.pending = b""
        self.stdin = self.stdout = self.stderr = -1
        # Nothing is fed before the box says that it is complete, if it is to say so.
        self.ready = channels.on_first_output is None
        self._spawn(box, bwrap)

    def _spawn(self, box: Box, bwrap: str) -> None:
        """Start bubblewrap by posix_spawn: cheaper than `subprocess`, also to import."""
        info_read, info_write = self._pipe()
        block_read, self.block = self._pipe()
        given = {_INFO: info_write, _BLOCK: block_read}
        given[_FILTER], filter_write = self._pipe()
        os.write(filter_write, _filter_program(box.allowed))
        os.close(filter_write)
        if self.channels.streams:
            given |= enumerate(map(self._high, self.channels.streams))
        elif self.channels.capture:
            self.stdout, given[1] = self._pipe()
            self.stderr, given[2] = self._pipe()
        if self.channels.feed:
            given[0], self.stdin = self._pipe()
        elif self.channels.capture and not self.channels.streams:
            given[0] = self._high(os.open(os.devnull, os.O_RDONLY))
        argv = arguments(box, bwrap=bwrap, info=_INFO, block=_BLOCK, filter_=_FILTER)
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in given.items()]
        try:
            self.outer = os.posix_spawn(
                bwrap, argv, box.environment, file_actions=actions, setsigdef=_PYTHON_IGNORES
            )
        finally:
            for descriptor in given.values():
                os.close(descriptor)
        told = b""
        while piece := os.read(info_read, 4096):
            told += piece
        os.close(info_read)
        try:
            # {"child-pid": 123, …}
            self.first = int(told.partition(b'"child-pid":')[2].strip(b" \n{}").split(b",")[0])
            self.watched = os.pidfd_open(self.first)
        except (ValueError, ProcessLookupError):
            # What we cannot bound must not run.
            self.first, self.watched = 0, -1
            os.kill(self.outer, signal.SIGKILL)
            self.verdict = Verdict.SETUP
            return
        self.stack.callback(os.close, self.watched)
        self._confine()

    def _pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        return self._high(reading), self._high(writing)

    def _high(self, descriptor: int) -> int:
        """The same at a number that is none of those which the child is to see."""
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
        os.close(descriptor)
        return high

    def _confine(self) -> None:
        """Bound the first process, which waits for us before it starts the command."""
        try:
            if self.group:
                self.group.add(self.first)
            table = resource_limits(self.limits, grouped=self.group is not None)
            for number, most in table.items():
                # Who has used up its time gets a signal of that before it is killed: what the
                # kernel says was used is less than what it counts where a hypervisor takes time.
                pair = (most, most + 1 if number == resource.RLIMIT_CPU else most)
                _, hard = resource.prlimit(self.first, number)
                if hard != resource.RLIM_INFINITY:
                    pair = (min(pair[0], hard), min(pair[1], hard))
                resource.prlimit(self.first, number, pair)
            # Whoever is nicer already, as a service or by nice(1), may not go back.
            nice = max(self.limits.nice, os.getpriority(os.PRIO_PROCESS, self.first))
            os.setpriority(os.PRIO_PROCESS, self.first, nice)
            with contextlib.suppress(OSError):
                Path(f"/proc/{self.first}/oom_score_adj").write_text("1000")
        except OSError:
            self._stop(Verdict.SETUP)

    def to_end(self) -> Ended:  # noqa: PLR0912 - a case for each descriptor
        """Watch the box until it is gone."""
        with contextlib.suppress(OSError):
            os.write(self.block, b"\n")
        os.close(self.block)
        outer_end = os.pidfd_open(self.outer)
        self.stack.callback(os.close, outer_end)
        poller = select.poll()
        poller.register(outer_end, select.POLLIN)
        streams = [descriptor for descriptor in (self.stdout, self.stderr) if descriptor >= 0]
        for stream in streams:
            os.set_blocking(stream, False)
            poller.register(stream, select.POLLIN)
            self.kept[stream], self.seen[stream] = bytearray(), 0
        if self.channels.stop is not None:
            poller.register(self.channels.stop, select.POLLIN)
        if self.stdin >= 0:
            os.set_blocking(self.stdin, False)
        feeding = False
        next_look = self.begun + _TICK
        try:
            while True:
                if self.stdin >= 0 and self.ready and not feeding:
                    poller.register(self.stdin, select.POLLOUT)
                    feeding = True
                now = time.monotonic()
                deadline = min(next_look, self.begun + self.limits.clock)
                events = poller.poll(max(0.0, deadline - now) * 1000)
                if any(descriptor == outer_end for descriptor, _ in events):
                    break
                for descriptor, _ in events:
                    if descriptor == self.channels.stop:
                        poller.unregister(descriptor)
                        self._kill()
                    elif descriptor == self.stdin:
                        if not self._feed():
                            poller.unregister(descriptor)
                            self._close_stdin()
                    elif not self._read(descriptor):
                        poller.unregister(descriptor)
                now = time.monotonic()
                if now - self.begun >= self.limits.clock:
                    self._stop(Verdict.CLOCK)
                if now >= next_look:
                    self._look()
                    next_look = now + _TICK
        finally:
            self._kill()
        return self._end_of(streams)

    def _close_stdin(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def _feed(self) -> bool:
        assert self.channels.feed is not None  # noqa: S101 (only called when there is one)
        self.pending = self.pending or self.channels.feed.read(_CHUNK)
        if not self.pending:
            return False
        try:
            written = os.write(self.stdin, self.pending)
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        self.pending = self.pending[written:]
        return True

    def _read(self, descriptor: int) -> bool:
        data = os.read(descriptor, _CHUNK)
        if not data:
            return False
        if not self.ready and self.channels.on_first_output and descriptor == self.stdout:
            before = time.monotonic()
            self.channels.on_first_output(self.first)
            self.begun += time.monotonic() - before  # our time, not the command's
            self.ready = True
            data = data[1:]
        self.seen[descriptor] += len(data)
        room = self.limits.output - len(self.kept[descriptor])
        self.kept[descriptor] += data[:room] if room > 0 else b""
        if self.seen[descriptor] > _DRAIN * self.limits.output:
            self._stop(Verdict.OUTPUT)
        return True

    def _look(self) -> None:
        """Compare what the box uses with its limits, where the kernel does not."""
        if not self.first:
            return
        if self.group:
            self.cpu = self.group.cpu()[0]
        else:
            files, held = self._memory_files()
            memory = self._measure(held)
            if files > INODES:
                self._stop(Verdict.DISK)
            room = self.limits.memory + self.limits.disk - memory - held
            if room < 0 or (not self.shares_network and self._in_sockets(room) > room):
                self._stop(Verdict.MEMORY)
        if self.cpu > self.limits.cpu:
            self._stop(Verdict.CPU)

    def _measure(self, held: int) -> int:
        """Note what the box has used of processor and memory; returns bytes of memory now.

        Args:
            held: bytes in its memory file system, which may be mapped too.
        """
        used = processes.usage(self.first)
        memory = used.memory + max(0, used.shared - held)
        self.cpu, self.user = max(self.cpu, used.cpu), max(self.user, used.user)
        self.peak = max(self.peak, memory)
        return memory

    def _in_sockets(self, room: int) -> int:
        """Bytes that its sockets may hold; none before it has a network of its own."""
        return sum(processes.buffers(each, room) for each in processes.networks(self.first))

    def _memory_files(self) -> tuple[int, int]:
        """Files and bytes in the box's memory file system."""
        inside = f"/proc/{self.first}/root"
        with contextlib.suppress(OSError):
            # Until the box has changed its root, this is still the host's.
            if self.writable and os.path.samestat(os.stat(inside), self.root):  # noqa: PTH116
                room = os.statvfs(f"{inside}/tmp")  # noqa: S108
                return room.f_files - room.f_ffree, (room.f_blocks - room.f_bfree) * room.f_frsize
        return 0, 0

    def _stop(self, verdict: Verdict) -> None:
        if self.first and not self.group and not self.verdict:
            # What is killed is not counted by who waits for it.
            self._measure(self._memory_files()[1])
        self.verdict = self.verdict or verdict
        self._kill()

    def _kill(self) -> None:
        """End every process of the box: they live in the namespace of the first."""
        with contextlib.suppress(ProcessLookupError):
            if self.watched >= 0:
                signal.pidfd_send_signal(self.watched, signal.SIGKILL)
            else:
                os.kill(self.outer, signal.SIGKILL)

    def _end_of(self, streams: list[int]) -> Ended:
        code = os.waitstatus_to_exitcode(os.waitpid(self.outer, 0)[1])
        user = system = 0.0
        memory = 0
        if self.first:
            with contextlib.suppress(ChildProcessError):
                _, _, used = os.wait4(self.first, 0)
                user, system, memory = used.ru_utime, used.ru_stime, used.ru_maxrss * 1024
        memory = max(memory, self.peak)
        seconds = time.monotonic() - self.begun
        cpu, user = max(self.cpu, user + system), max(self.user, user)
        for stream in streams:
            with contextlib.suppress(BlockingIOError):
                while self._read(stream):
                    pass
            os.close(stream)
        self._close_stdin()
        if self.group:
            cpu, user = self.group.cpu()
            memory = self.group.memory_peak() or memory
            if self.group.out_of_memory():
                self.verdict = self.verdict or Verdict.MEMORY
        used_up = code == 128 + signal.SIGKILL and cpu >= self.limits.cpu - 0.2
        if used_up or code == 128 + signal.SIGXCPU:
            self.verdict = self.verdict or Verdict.CPU
        out, err = (bytes(self.kept[d]) for d in self.kept) if self.kept else (b"", b"")
        return Ended(
            verdict=self.verdict or Verdict.EXITED,
            code=None if self.verdict is Verdict.SETUP else code % 256,
            stdout=out,
            stderr=err,
            seconds=seconds,
            cpu=cpu,
            user=user,
            memory=memory,
        )


def sweep(root: Path) -> int:
    """Kill boxes below a root directory whose supervisor was killed while it started them.

    bubblewrap's first process does not yet die with its parent then. Where systemd ends the
    whole control group there are none; call this before the first box of a dedicated account.

    Returns:
        How many there were.
    """
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            ours = entry.stat().st_uid == os.getuid() and command[0].endswith(b"/bwrap")
            below = any(part.startswith(bytes(root) + b"/") for part in command)
            if ours and below and _is_orphan(parent):
                os.kill(int(entry.name), signal.SIGKILL)
                count += 1
    return count


def _is_orphan(parent: int) -> bool:
    """Whether a box's parent is who takes orphans in: neither a service of ours nor bubblewrap."""
    return parent == 1 or Path(f"/proc/{parent}").stat().st_uid != os.getuid()


def _bubblewrap() -> str:
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        if os.access(path := f"{directory}/bwrap", os.X_OK):
            return path
    raise HostNotReadyError("bwrap is not installed", hint="sudo apt-get install bubblewrap")


def become_reaper() -> None:
    """Have orphans of our children become our own."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
