"""Renew Sage in this appliance: renew-sage STEP [ARGUMENT...], as root; one JSON object out.

The steps, each repeatable, are ``look``, ``receive``, ``install``, ``unpack``, ``prove``,
``switch``, ``check``, ``confirm``, ``back``, ``recover`` and ``prune``. How far a version has
come, and what leads back, is in its ``journal``.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from . import incoming
from .answers import SageFacts
from .journal import Journal, Renewal
from .lease import guarding
from .leases import free_account
from .program import (
    RefusedError,
    answer,
    at_boot,
    attempt,
    check_services,
    itself,
    remove,
    run,
    write,
)

OPT = Path("/opt")
CURRENT = OPT / "sage-current"
PACKAGES = OPT / "python"  # of Python's notebooks
COMMAND = Path("/usr/local/bin/sage")
KERNELS = Path("/usr/local/share/jupyter/kernels")
STATE = Path("/var/lib/appliance/sage")
PYTHON = "/opt/notebook/bin/python"
NURSERY = Path("/etc/systemd/system/nursery@.service")  # forks kernels, one for each Sage
WANTED = Path("/etc/systemd/system/multi-user.target.wants")
BACK = "appliance-sage-back"
PROVING_SECONDS = 600
WHEELS = "wheels"
MARGIN = 256 << 20  # bytes of / that stay free

# Run as a pool account by the notebook's Python: a kernel computes what a class would.
PROOF = r"""
import json, os, sys, tempfile
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec
os.chdir(os.environ["HOME"])
manager = KernelManager(transport="ipc", ip=tempfile.mkdtemp() + "/k")
manager._kernel_spec = KernelSpec.from_resource_dir(os.path.dirname(sys.argv[1]))
manager.start_kernel()
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=300)
problems = []
for code, wanted in json.loads(sys.argv[2]):
    shown = []
    def take(message):
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            shown.append(content["text"])
        elif kind in ("execute_result", "display_data"):
            shown.append(content["data"].get("text/plain", ""))
        elif kind == "error":
            shown.append(content["ename"] + ": " + content["evalue"])
    answer = client.execute_interactive(code, timeout=300, output_hook=take, allow_stdin=False)
    text = "".join(shown)
    if answer["content"]["status"] != "ok" or wanted not in text:
        problems.append(f"{code!r} gave {text[-300:]!r}")
        break
client.stop_channels()
manager.shutdown_kernel(now=True)
print(json.dumps(problems))
"""
CELLS = (
    ("import sage.all", ""),
    ("factor(2^101 - 1)", "7432339208719 * 341117531003194129"),
    ("plot(sin, 0, 1).save('proof.png'); open('proof.png', 'rb').read(4)", "PNG"),
    ("%%cython\ndef double(int n):\n    return 2 * n", ""),
    ("double(21)", "42"),
)


def look() -> SageFacts:
    """What there is: versions, room, memory, sessions, how far a renewal has come."""
    return SageFacts(**RENEWAL.facts(), versions=versions())


def install(admin: str) -> SageFacts:
    """Make our directories and the unit that puts the old version back at boot."""
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    incoming.make(RENEWAL.incoming, admin)
    at_boot(
        "appliance-sage.service",
        "[Unit]\nDescription=Put the old Sage back when a renewal was not confirmed\n"
        f"ConditionPathExists={STATE}/state.json\nBefore=notebook.service\n\n"
        f"[Service]\nType=oneshot\nExecStart={itself()} --own recover\n\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    return look()


def receive(version: str, digest: str, size: str) -> SageFacts:
    """Check a transferred archive and note it as received."""
    RENEWAL.receive(version, digest, size)
    return look()


def unpack(version: str, digest: str, how: str) -> SageFacts:
    """Unpack the archive beside the old version; it appears when it is whole.

    ``how`` is the number of directories that all is below, or ``wheels``: then it is no archive
    but a list of wheels, and the script that installs them comes on stdin.
    """
    prefix = OPT / f"sage-{version}"
    archive = RENEWAL.incoming / digest
    stamp = prefix / ".archive"
    if not (stamp.exists() and stamp.read_text() == digest):
        if prefix.exists():
            if version == current():
                raise RefusedError(f"{prefix} is the current Sage")
            remove(prefix)
        part = OPT / f".sage-{version}.part"
        remove(part)
        part.mkdir(mode=0o755)
        try:
            if how == WHEELS:
                whole = _install(archive, part, version)
            else:
                incoming.extract(archive, part, int(how))
                whole = part
            if sage_of(whole) is None:
                raise RefusedError("there is neither bin/sage nor sage in it")
            share(whole)
            write(whole / ".archive", digest)
            os.sync()
            whole.rename(prefix)
        finally:
            remove(part)
    describe(version)
    RENEWAL.came(version, "unpacked", digest=digest)
    archive.unlink(missing_ok=True)
    return look()


def share(whole: Path) -> None:
    """Keep one of the files that a new Sage and Python's packages have alike, as a build does."""
    if PACKAGES.is_dir():
        run("hardlink", "--quiet", str(PACKAGES), str(whole))


def prove(version: str) -> SageFacts:
    """Let a kernel of a version that is not current yet compute, on a pool account."""
    compute(OPT / f"sage-{version}" / "kernel.json")
    RENEWAL.came(version, "proven")
    return look()


def switch(version: str, seconds: str) -> SageFacts:
    """Make a proven version the current one, for so many seconds unless it is confirmed."""
    with RENEWAL.switching(version, seconds):
        for name in {current(), version} - {None}:
            describe(str(name))
        point_at(version)
        _link(KERNELS / "sagemath" / "kernel.json", CURRENT / "kernel.json")
    return look()


def check() -> SageFacts:
    """Let a kernel compute as a student would get it now; look after the notebook's services."""
    compute((KERNELS / "sagemath" / "kernel.json").resolve())
    check_services()
    return look()


def confirm(version: str) -> SageFacts:
    """The current version stays."""
    RENEWAL.confirm(version)
    return look()


def back(reason: str) -> SageFacts:
    """Put the old version back for good and remove the new one."""
    failed = RENEWAL.back(reason)
    if failed not in (None, current()):
        remove(OPT / f"sage-{failed}")
        remove(KERNELS / f"sagemath-{failed}")
    return look()


def recover() -> SageFacts:
    """Put the old version back after a renewal that nobody confirmed; the new one stays proven."""
    RENEWAL.recover()
    return look()


def prune(keep: str) -> SageFacts:
    """Remove old versions but for the newest few; those in use stay."""
    old = [name for name in versions() if name != current()]
    old.sort(
        key=lambda name: (
            (OPT / f"sage-{name}" / "kernel.json").stat().st_mtime
            if (OPT / f"sage-{name}" / "kernel.json").exists()
            else 0
        ),
        reverse=True,
    )
    for name in old[int(keep) :]:
        if not in_use(OPT / f"sage-{name}"):
            remove(OPT / f"sage-{name}")
            remove(KERNELS / f"sagemath-{name}")
            (OPT / f"sage-{name}.lock").unlink(missing_ok=True)
    for left in RENEWAL.incoming.glob("*"):
        left.unlink()
    return look()


def current() -> str | None:
    """The version that students get."""
    with contextlib.suppress(OSError):
        return CURRENT.readlink().name.removeprefix("sage-")
    return None


def versions() -> list[str]:
    """All versions that are whole."""
    return sorted(
        path.name.removeprefix("sage-")
        for path in OPT.glob("sage-*")
        if path.is_dir() and not path.is_symlink()
    )


def sage_of(prefix: Path) -> str | None:
    """The command of a Sage, below its directory."""
    return next((name for name in ("bin/sage", "sage") if (prefix / name).exists()), None)


def point_at(version: str | None) -> None:
    """Change the link to the current version, as one rename(2); None: to nothing."""
    if version is None:
        CURRENT.unlink(missing_ok=True)
    else:
        _link(CURRENT, OPT / f"sage-{version}")
        if tool := sage_of(OPT / f"sage-{version}"):  # a classic Sage has it elsewhere
            _link(COMMAND, CURRENT / tool)
    raise_nursery(version)
    os.sync()


def raise_nursery(version: str | None) -> None:
    """Let the nursery of the current version start, now and at boot, and no other's at boot.

    One that runs already goes by itself when its last kernel has ended.
    """
    unit = f"nursery@sage-{version}.service"
    for link in WANTED.glob("nursery@sage-*.service"):
        if link.name != unit:
            link.unlink()
    if version is not None and NURSERY.exists():
        run("systemctl", "enable", "--quiet", unit)
        run("systemctl", "start", "--no-block", unit, check=False)


def describe(version: str) -> None:
    """Write a version's kernels: its own name, and the one that the current version offers.

    Both name the version's own directory, so that a kernel keeps the Sage that it began with.
    """
    prefix = OPT / f"sage-{version}"
    if (prefix / "kernel.json").exists() and (KERNELS / f"sagemath-{version}").exists():
        return
    named = KERNELS / f"sagemath-{version}" / "kernel.json"
    if named.exists():  # as the appliance's build made it
        spec = json.loads(named.read_text())
    else:
        tool = sage_of(prefix)
        start = [f"{prefix}/bin/python"] if tool == "bin/sage" else [f"{prefix}/sage", "--python"]
        paths = {"ECL_CONFIG": "/usr/bin/true", "PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig"}
        spec = {
            "argv": [*start, "-m", "sage.repl.ipython_kernel", "-f", "{connection_file}"],
            "display_name": f"SageMath {version}",
            "language": "sage",
            "env": paths if tool == "bin/sage" else {},
            "metadata": {"debugger": False},
        }
        named.parent.mkdir(parents=True, exist_ok=True)
        write(named, json.dumps(spec, indent=4) + "\n")
    write(prefix / "kernel.json", json.dumps({**spec, "display_name": "SageMath"}, indent=4) + "\n")


def compute(spec: Path) -> None:
    """Run the proof's cells in a kernel, as a pool account that nobody has.

    Raises:
        RefusedError: an answer is wrong or missing.
    """
    with free_account() as account, tempfile.TemporaryDirectory(dir="/run") as place:
        Path(place).chmod(0o755)
        shutil.copy(spec, Path(place) / "kernel.json")
        Path(place, "kernel.json").chmod(0o644)
        done = attempt(
            *("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
            *(f"--uid={account}", "-p", "PrivateTmp=yes", "-p", "NoNewPrivileges=yes"),
            *("-p", "RuntimeDirectory=appliance-proof", "-p", "KillMode=control-group"),
            *("-p", f"RuntimeMaxSec={PROVING_SECONDS}", "-p", "ProtectSystem=strict"),
            *("-E", "HOME=/run/appliance-proof", "-E", "IPYTHONDIR=/run/appliance-proof"),
            *(PYTHON, "-I", "-c", PROOF, f"{place}/kernel.json", json.dumps(CELLS)),
        )
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()
        raise RefusedError("the kernel does not start: " + " | ".join(told[-4:])[-600:])
    if problems := json.loads(done.stdout.splitlines()[-1]):
        raise RefusedError("; ".join(problems))


def in_use(prefix: Path) -> bool:
    """Whether a process runs from a directory."""
    mark = f"{prefix}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "cmdline").read_bytes() + (process / "maps").read_bytes():
                return True
    return False


def _link(path: Path, target: Path) -> None:
    fresh = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(path)


def _install(lock: Path, part: Path, version: str) -> Path:
    """Install wheels below ``part`` as if it were /opt: their paths are those of later."""
    with tempfile.TemporaryDirectory(dir="/run") as place:
        script, wheels = Path(place, "install.sh"), Path(place, "wheels.lock")
        script.write_bytes(sys.stdin.buffer.read())
        shutil.copy(lock, wheels)
        done = attempt(
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--fork", "--kill-child"),
            *("sh", "-c", 'mount --bind "$1" /opt && exec sh "$2" "/opt/$3" "$4"', "sh"),
            *(str(part), str(script), f"sage-{version}", str(wheels)),
        )
    if done.returncode:
        raise RefusedError(f"the wheels cannot be installed: {done.stderr.strip()[-600:]}")
    return part / f"sage-{version}"


JOURNAL = Journal(STATE, BACK)
RENEWAL = Renewal(JOURNAL, current, point_at, OPT)
STEPS = (look, install, receive, unpack, prove, switch, check, confirm, back, recover, prune)

# Steps of a run: only whoever has the appliance takes them.
HELD = tuple(step.__name__ for step in STEPS if step not in (look, install))


def main() -> None:
    """Run one step; others wait for it."""
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with guarding(held=HELD):
        answer({step.__name__: step for step in STEPS}, lock=STATE / "lock", unlocked=("look",))
