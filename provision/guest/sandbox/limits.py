"""What a box may use, and how its run ended.

Named tuples here and below: to import `dataclasses` would take as long as a box does.
"""

import enum
from typing import NamedTuple

MIB = 1 << 20


class Limits(NamedTuple):
    """The limits of one box. They count all of its processes together unless said otherwise.

    Args:
        clock: seconds of wall time.
        cpu: seconds of processor time.
        memory: bytes of memory.
        disk: bytes of its writable memory file system.
        tasks: processes and threads.
        files: open files of each process.
        file_size: bytes of each file.
        output: bytes kept of each of stdout, stderr and the output files.
        stack: bytes of each process's stack; None: the system's.
        address_space: bytes of each process's address space; None: unlimited, for the JVM
            reserves much more than it uses.
        data: bytes of private memory that one process may ask for where no cgroup counts what
            it uses; None: as ``memory``.
        core: bytes of a core dump.
        nice: scheduling priority, 0 to 19.
    """

    clock: float = 10
    cpu: float = 10
    memory: int = 512 * MIB
    disk: int = 64 * MIB
    tasks: int = 64
    files: int = 256
    file_size: int = 64 * MIB
    output: int = MIB
    stack: int | None = None
    address_space: int | None = None
    data: int | None = None
    core: int = 0
    nice: int = 5


class Verdict(enum.Enum):
    """Why a run ended."""

    EXITED = "exited"
    CLOCK = "wall time limit"
    CPU = "processor time limit"
    MEMORY = "memory limit"
    DISK = "file count limit"
    OUTPUT = "output limit"
    SETUP = "the box could not be set up"


class Ended(NamedTuple):
    """How a box ended.

    Args:
        verdict: why.
        code: the command's exit status, 128 + N when signal N killed it; None when the box
            could not be set up.
        stdout, stderr: what it printed, cut to the output limit; empty when not captured.
        seconds: wall time.
        cpu: processor seconds of all its processes together.
        user: those of ``cpu`` that were spent outside the kernel.
        memory: bytes at the peak: of the whole box with a cgroup, else of its largest process.
    """

    verdict: Verdict
    code: int | None
    stdout: bytes
    stderr: bytes
    seconds: float
    cpu: float
    user: float
    memory: int
