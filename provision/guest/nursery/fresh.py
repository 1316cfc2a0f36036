"""What a child renews, so that nothing of the shared interpreter's past is its own.

Seeds, keys and temporary directories that were drawn before the fork would be the same for all
students; what was read from the environment would be the nursery's.
"""

import contextlib
import ctypes
import locale
import mmap
import os
import re
import secrets
import select
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest.nursery.wire import ForkRefusedError, ForkRequest

PR_SET_NAME, PR_SET_MM, PR_SET_MM_MAP = 15, 35, 14
# Read when an interpreter or a library starts: who wants them otherwise starts one of his own.
EARLY = ("PYTHON", "LD_", "GLIBC_TUNABLES", "MALLOC_", "SAGE_", "OMP_", "OPENBLAS_", "MKL_", "GC_")
GAP = "sage.libs.gap.libgap"
# What a session's server is told by its environment.
TOLD = ("JUPYTER_", "JUPYTERHUB_", "JUPYTERLAB_")
# While it imports: no threads for linear algebra, nor for collecting Lisp's garbage.
OURS = {"OPENBLAS_NUM_THREADS": "1", "GC_MARKERS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
INLINE = "module://matplotlib_inline.backend_inline"  # as ipykernel has it
BLAS = ("openblas_set_num_threads", "scipy_openblas_set_num_threads")
# GAP keeps what it has read as it began: variables, and where somebody is at home (lib/system.g).
GAP_TELL = """function(variables, home)
    GAPInfo.SystemEnvironment := variables;
    GAPInfo.KernelInfo := ShallowCopy(GAPInfo.KernelInfo);
    GAPInfo.KernelInfo.ENVIRONMENT := variables;
    GAPInfo.RootPaths := List(GAPInfo.RootPaths, path -> ReplacedString(
        path, Concatenation(GAPInfo.UserGapRoot, "/"), Concatenation(home, "/.gap/")));
    GAPInfo.UserHome := home;
    GAPInfo.UserGapRoot := Concatenation(home, "/.gap");
    GAPInfo.DirectoriesSystemPrograms := SplitString(variables.PATH, ":");
    GAPInfo.DirectoryCurrent := false;
end"""
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Past:
    """What the nursery's start has left in the interpreter.

    Args:
        home: the nursery's home directory, a name of its own.
        early: variables that decided how it started.
        added: variables that imports have set.
        homes: modules' names whose value is below that home.
        pids: modules' names whose value ends with the nursery's number.
        place: the directory of its environment, which a session may see another in place of.
        read: variables of those in ``TOLD`` that were looked for, and were not there.
    """

    home: str
    early: Mapping[str, str]
    added: Mapping[str, str]
    homes: tuple[tuple[dict[str, Any], str], ...]
    pids: tuple[tuple[dict[str, Any], str], ...]
    place: tuple[int, int]
    read: frozenset[str]


def early(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that decide how an interpreter and its libraries start."""
    return {name: value for name, value in env.items() if name.startswith(EARLY)}


def directory(path: str | Path) -> tuple[int, int]:
    """Which directory is at a path, whatever is mounted there."""
    there = Path(path).stat()
    return there.st_dev, there.st_ino


@contextlib.contextmanager
def noting() -> Iterator[set[str]]:
    """Note which variables are looked for."""
    read: set[str] = set()
    usual = type(os.environ)

    class Noting(usual):  # type: ignore[misc, valid-type]  # what os has
        def __getitem__(self, name: str) -> str:
            read.add(os.fsdecode(name))
            return str(super().__getitem__(name))

    os.environ.__class__ = Noting
    try:
        yield read
    finally:
        os.environ.__class__ = usual


def past(env: Mapping[str, str], read: Iterable[str]) -> Past:
    """Look through all modules, once they are imported.

    Args:
        env: the environment in which the nursery began.
        read: the variables that were looked for.
    """
    home, pid = env["HOME"], f".{os.getpid()}"
    texts = [
        (names, name, value)
        for module in list(sys.modules.values())
        for names in [getattr(module, "__dict__", {})]
        for name, value in list(names.items())
        if isinstance(value, str)
    ]
    return Past(
        home=home,
        early=early(env),
        added={k: v for k, v in os.environ.items() if env.get(k) != v and k not in OURS},
        homes=tuple((n, name) for n, name, value in texts if value.startswith(home)),
        pids=tuple((n, name) for n, name, value in texts if value.endswith(pid)),
        place=directory(sys.prefix),
        read=frozenset(name for name in read if name.startswith(TOLD) and name not in env),
    )


def check(request: ForkRequest, before: Past) -> None:
    """Whether a child can be what is asked.

    Raises:
        ForkRefusedError: it would have to be started otherwise.
    """
    program, *words = request.argv
    if Path(os.path.normpath(program)).parent != Path(sys.executable).parent:
        raise ForkRefusedError(f"{program} is of another Python")
    if not is_script(request.argv) and (len(words) < 2 or words[0] != "-m"):
        raise ForkRefusedError("it runs no module, and is no script of this Python")
    if directory(sys.prefix) != before.place:
        raise ForkRefusedError(f"its {sys.prefix} is an environment of another day")
    if late := sorted(before.read & request.env.keys()):
        raise ForkRefusedError(f"{', '.join(late)} was read before it was told")
    if "HOME" not in request.env or early(request.env) != before.early:
        raise ForkRefusedError("its variables are those of another start")
    if GAP in sys.modules and any(Path(request.env["HOME"]).glob(".gap*")):
        raise ForkRefusedError("its GAP begins with files of its own")


def is_script(argv: Sequence[str]) -> bool:
    """Whether a command is a script of our own Python, as pip installs them."""
    with Path(argv[0]).open("rb") as file:
        first = file.readline(256)
    ours = Path(sys.executable).parent / "python"
    return re.fullmatch(rb"#!%b[\d.]*\s*" % re.escape(os.fsencode(ours)), first) is not None


def renew(request: ForkRequest, before: Past, server: int) -> None:
    """Make the interpreter what a new one would be.

    Args:
        request: the kernel to be.
        before: from ``past``.
        server: pidfd of who asked.

    Raises:
        OSError: the kernel refuses.
    """
    os.environ.clear()
    os.environ.update({**before.added, **request.env})
    time.tzset()
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "")
    if is_script(request.argv):
        # As Linux runs it: by the Python that its first line names.
        sys.orig_argv, sys.argv = [sys.executable, *request.argv], list(request.argv)
        sys.path.insert(0, str(Path(request.argv[0]).parent))
    else:
        sys.executable = request.argv[0]
        sys.orig_argv, sys.argv = list(request.argv), ["-m", *request.argv[3:]]
        sys.path.insert(0, str(Path.cwd()))
        _watch(server)
    _show(sys.orig_argv, request)
    for names, name in before.homes:
        names[name] = request.env["HOME"] + names[name].removeprefix(before.home)
    for names, name in before.pids:
        names[name] = f"{names[name].rpartition('.')[0]}.{os.getpid()}"
    draw_anew()
    _use_all_processors()


def draw_anew() -> None:
    """Whatever was drawn by chance, or made for one process, in the libraries that are there.

    ``random`` does so by itself when a process forks.
    """
    tempfile.tempdir = None
    if process := sys.modules.get("multiprocessing.process"):
        process.current_process().authkey = os.urandom(32)
    if numbers := sys.modules.get("numpy.random"):
        numbers.seed()
    plots: Any = sys.modules.get("matplotlib")
    if plots:
        _plot_as_the_student(plots)
    if states := sys.modules.get("sage.misc.randstate"):
        # GMP's numbers, from which the other systems that Sage asks draw theirs; PARI and GAP's
        # library, which begins alike in every Sage, are asked directly, too.
        states.set_random_seed()
        states.current_randstate().set_seed_pari()
        if gap := sys.modules.get(GAP):
            states.current_randstate().set_seed_libgap()
            # As far as it is text, which its library asks for.
            env = {k: v for k, v in os.environ.items() if f"{k}{v}".isprintable()}
            gap.libgap.eval(GAP_TELL)(env, os.environ["HOME"])
    maxima: Any = sys.modules.get("sage.interfaces.maxima_lib")
    if maxima:
        # Its directories are the session's; what it draws begins alike in every Sage, but not here.
        maxima.ecl_eval("(maxima::set-pathnames)")
        maxima.ecl_eval("(setq *default-pathname-defaults* (ext:getcwd))")
        seed = secrets.randbits(31)
        maxima.maxima_lib.eval(f"set_random_state(make_random_state({seed}))")
    files: Any = sys.modules.get("sage.misc.temporary_file")
    if files:
        files.TMP_DIR_FILENAME_BASE._finalizer.detach()
        files.TMP_DIR_FILENAME_BASE = tempfile.TemporaryDirectory(prefix="sage_")


def _plot_as_the_student(plots: Any) -> None:
    """What matplotlib reads when it is imported: directories, settings, where it draws."""
    for function in (plots.get_configdir, plots.get_cachedir):
        for cell in function.__closure__ or ():
            if isinstance(cell.cell_contents, bool):  # whether it has looked already
                cell.cell_contents = False
    own = Path.home() / ".config/matplotlib"
    if "MATPLOTLIBRC" in os.environ or any(
        (place / "matplotlibrc").exists() for place in (Path.cwd(), own)
    ):
        plots.rc_file(plots.matplotlib_fname())
    plots.rcParams["backend"] = os.environ.get("MPLBACKEND") or INLINE


def _use_all_processors() -> None:
    """OpenBLAS was kept to one thread while it was shared: threads do not survive a fork."""
    maps = Path("/proc/self/maps").read_text()
    for path in {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "openblas" in line}:
        library = ctypes.CDLL(path)
        for name in (f"{stem}{end}" for stem in BLAS for end in ("", "64_")):
            if hasattr(library, name):
                getattr(library, name)(len(os.sched_getaffinity(0)))


def _watch(server: int) -> None:
    """Let ipykernel end with its server, which is not its parent, at once.

    A server needs none to watch: it ends with its session.
    """
    from ipykernel.parentpoller import (  # type: ignore[import-not-found]  # noqa: PLC0415
        ParentPollerUnix,
    )

    def run(_: object) -> None:
        poll = select.poll()
        poll.register(server, select.POLLIN)
        poll.poll()
        os._exit(1)

    ParentPollerUnix.run = run


def _show(command: Sequence[str], request: ForkRequest) -> None:
    """Show in /proc the command and the environment of the child, not the nursery's."""
    argv, env = (
        b"".join(os.fsencode(word) + b"\0" for word in words)
        for words in (command, [f"{name}={value}" for name, value in request.env.items()])
    )
    page = mmap.mmap(-1, len(argv) + len(env), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    page.write(argv + env)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(page))
    _KEPT.append(page)
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    code = [int(stat[number - 3]) for number in (26, 27, 45, 46, 47)]
    libc.sbrk.restype = ctypes.c_void_p
    shown = [begin, begin + len(argv), begin + len(argv), begin + len(argv) + len(env)]
    layout = struct.pack(
        "=12QIi", *code, libc.sbrk(0), int(stat[28 - 3]), *shown, 0, 0, -1
    )  # struct prctl_mm_map
    if libc.prctl(PR_SET_MM, PR_SET_MM_MAP, layout, len(layout), 0):
        number = ctypes.get_errno()
        raise OSError(number, f"its command cannot be shown: {os.strerror(number)}")
    libc.prctl(PR_SET_NAME, os.fsencode(Path(request.argv[0]).name), 0, 0, 0)


_KEPT: list[mmap.mmap] = []  # what /proc shows
