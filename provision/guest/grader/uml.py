"""The original's engine: each task in a User-Mode Linux kernel of its own, inside a box."""

import contextlib
import io
import os
import tarfile
from pathlib import Path

from provision.errors import UsageError
from provision.guest.grader.engine import FAILED, Bubblewrap, Held, Result, judge
from provision.guest.sandbox import box, gate, seccomp
from provision.guest.sandbox.image import UML_INIT, WORK
from provision.guest.sandbox.limits import MIB, Ended, Limits, Verdict

_KERNEL_MEMORY = 48 * MIB
_BOOT_SECONDS = 5
_RESULT = "result.tar"
_START = (
    f"printf '\\n'; cd {WORK} && cat > /dev/null && truncate -s {{size}} {_RESULT} && "
    "exec /tmp/linux mem={memory}M ubdarc=/tmp/rootfs ubdbr=/tmp/task.tar "
    f"ubdc={WORK}/{_RESULT} root=/dev/ubda ro rootfstype=ext4 con=null con0=null,fd:2 quiet "
    f"init=/{UML_INIT} CLOCK={{clock}} CPU={{cpu}} MEMORY={{bytes}} "
    "DISK={disk} OUTPUT={output} TASKS={tasks} {network} >&2"
)
# What the guest's first process writes down when a limit is met.
_OVER = {
    b"clock": Verdict.CLOCK,
    b"cpu": Verdict.CPU,
    b"memory": Verdict.MEMORY,
    b"output": Verdict.OUTPUT,
}
_NETWORK = (
    f"vec0:transport=tap,ifname={gate.TAP} "
    f"ADDRESS={gate.TAP_GUEST} PROXY={gate.TAP_ADDRESS} PORT={gate.PORT}"
)


class UserModeLinux:
    """Runs tasks on read-only ext4 disks; the box around the kernel shows it nothing else.

    Args:
        kernel: the ``linux.uml`` program.
        disks: the directory of ``NAME.ext4``.
        outer: the engine whose images give the kernel's own C library.
    """

    name = "uml"

    def __init__(self, kernel: Path, disks: Path, outer: Bubblewrap) -> None:
        self.kernel, self.disks, self.outer = kernel, disks, outer

    def run(self, archive: Path, image: str, limits: Limits, *, name: str) -> Result:
        """Run a task; see `Engine.run`."""
        if image not in self.images():
            raise UsageError(f"no image {image!r}", hint=f"there are: {', '.join(self.images())}")
        way_out = self.outer.way_out
        size = 5 * limits.output + MIB
        memory = limits.memory + limits.disk + _KERNEL_MEMORY
        command = _START.format(
            size=size,
            memory=memory // MIB,
            clock=limits.clock,
            cpu=round(limits.cpu * 1e6),
            bytes=limits.memory + limits.disk,
            disk=limits.disk,
            output=limits.output,
            tasks=limits.tasks,
            network=_NETWORK if way_out else "",
        )
        cage = box.Box(
            root=self.outer.roots / image,
            command=("/bin/sh", "-c", command),
            limits=limits._replace(
                clock=limits.clock + _BOOT_SECONDS,
                cpu=limits.cpu + _BOOT_SECONDS,
                memory=memory,
                data=memory,
                disk=memory + size + MIB,  # the guest's memory is a file in the box's /tmp
                file_size=1 << 40,  # sparse; what it holds is bounded by disk
                tasks=limits.tasks + 64,
                files=1024,
            ),
            environment={**box.ENVIRONMENT, "TMPDIR": "/tmp"},  # noqa: S108 (inside the box)
            directory=WORK,
            binds={
                "/tmp/linux": self.kernel,  # noqa: S108 (inside the box)
                "/tmp/rootfs": self.disks / f"{image}.ext4",  # noqa: S108
                "/tmp/task.tar": archive,  # noqa: S108
            },
            devices=("net/tun",) if way_out else (),
            allowed=seccomp.TRACER,
        )
        with Held(way_out, tap=True) as held:
            channels = box.Channels(feed=io.BytesIO(), on_first_output=held.take)
            ended = box.run(cage, channels, name=name, delegated=self.outer.delegated)
            held.check(ended)
            files = {} if held.work is None else _read(held.work, size)
        return _result(ended, files)

    def images(self) -> list[str]:
        """Those with a disk and a root for the kernel's own library."""
        disks = {path.stem for path in self.disks.glob("*.ext4")}
        return sorted(disks & set(self.outer.images()))

    def status(self) -> dict[str, str]:
        """See `Engine.status`."""
        missing = f"missing: {self.kernel} (apt-get install user-mode-linux)"
        return {
            "kernel": str(self.kernel) if self.kernel.exists() else missing,
            "memory": "mem= of the guest's kernel",
            "box": self.outer.status()["memory"],
            "network": self.outer.status()["network"],
        }


def _read(directory: int, most: int) -> dict[str, bytes]:
    """The members of the result; a guest that was taken over may have written anything there."""
    found: dict[str, bytes] = {}
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(OSError, tarfile.TarError, ValueError, EOFError):
        with os.fdopen(os.open(_RESULT, flags, dir_fd=directory), "rb") as stream:
            data = stream.read(most)
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content and len(found) < 16:
                    found[member.name] = content.read(most)
    return found


def _result(ended: Ended, files: dict[str, bytes]) -> Result:
    if ended.verdict is Verdict.EXITED and not files:
        console = ended.stderr.decode(errors="replace").splitlines()
        reason = f"the guest's kernel failed: {' | '.join(console[-3:])}"
        return Result(FAILED, None, reason=reason, seconds=round(ended.seconds, 4))
    with contextlib.suppress(KeyError, ValueError):
        begun, stopped, cpu, peak = map(float, files["usage"].split())
        ended = ended._replace(seconds=stopped - begun, cpu=cpu / 1e6, memory=round(peak))
    try:
        code = int(files.get("exit_code.txt", b"125"))
    except ValueError:
        code = 125
    over = _OVER.get(files.get("verdict", b"").strip(), ended.verdict)
    # A disk that an earlier release made says so in a file of its own.
    mark = b"\n" if "unpacked" in files else b""
    outputs = {
        name.removeprefix("task-"): data for name, data in files.items() if name.startswith("task-")
    }
    inner = ended._replace(
        verdict=over,
        code=code,
        stdout=mark + files.get("cut-stdout.txt", b""),
        stderr=files.get("cut-stderr.txt", b""),
    )
    return judge(inner, outputs, full="full" in files)
