"""What this host is and has. Nothing here judges, and nothing here raises for a poor host."""

import contextlib
import getpass
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path

import platformdirs

import vbox
from provision.build import places
from provision.build.build import request, steps
from provision.config import Config
from provision.doctor import tools, windows
from provision.errors import ApplianceError, HostNotReadyError
from provision.jeos import archive, proxy
from vbox import ports

_SECURE_BOOT = Path("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SYSCTLS = (
    "kernel.unprivileged_userns_clone",
    "user.max_user_namespaces",
    "kernel.apparmor_restrict_unprivileged_userns",
)
_MIRROR_SECONDS = 15


@dataclass(frozen=True)
class VirtualBoxFacts:
    """A VirtualBox on this host.

    Args:
        path: its VBoxManage.
        version: for example ``(7, 2, 22)``; None: it does not say.
        portable: fetched by us, without a driver.
        trouble: what it answered instead of a version.
    """

    path: Path
    version: tuple[int, ...] | None
    portable: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Room:
    """Free space for one purpose.

    Args:
        path: the directory, which need not be there yet.
        device: the file system that it is on.
        free: bytes that this user may still write.
        writable: whether this user may write there at all.
    """

    path: Path
    device: int
    free: int
    writable: bool = True


@dataclass(frozen=True)
class Mirror:
    """What the package mirror answered.

    Args:
        url: of the suite's InRelease file.
        trouble: why there is no answer; empty if there is one.
        signature: ``good``, ``unchecked``, or what is wrong with it.
        valid_until: when it expires, in seconds since 1970; None: never.
        clock: the mirror's own time minus ours, in seconds; None: it does not say.
        proxy: through which, and who says so; empty: directly.
    """

    url: str
    trouble: str = ""
    signature: str = "unchecked"
    valid_until: float | None = None
    clock: float | None = None
    proxy: str = ""


@dataclass(frozen=True)
class HostFacts:
    """Everything that the checks look at.

    Args:
        root: whether we are root.
        user: our name.
        architecture: as ``uname -m`` says.
        kernel: its version, for example ``(6, 12)``.
        modules: the loaded kernel modules.
        cpu: the processor's flags.
        kvm_at_load: whether the KVM modules take the hardware as soon as they are loaded; None:
            this kernel does not say.
        kvm: whether /dev/kvm is there and ours to use; None: it is not there.
        secure_boot: whether the firmware refuses unsigned drivers; None: unknown.
        driver: whether VirtualBox's kernel driver is loaded.
        virtualbox: the VirtualBox that we would use; None: there is none.
        missing: the tools that are needed and not here.
        memory: bytes of memory.
        available: bytes of memory that are free or can be freed.
        rooms: free space by purpose: ``cache``, ``output``, ``temporary``, ``data``, ``state``.
        cached: the stages of the build that are finished already.
        taken: the wanted ports of this host that are taken, and who holds them.
        namespaces: whether this user can make user namespaces.
        sysctls: the kernel settings about them that exist.
        subordinate: whether this user has subordinate uids and gids.
        mirror: None: not asked.
        time: now, in seconds since 1970.
        system: as ``platform.system`` says; of what is no Linux only what a seat needs is known.
        features: what Windows has beside VirtualBox, by the names of ``windows.FEATURES``.
    """

    root: bool = True
    user: str = "root"
    architecture: str = "x86_64"
    kernel: tuple[int, int] = (6, 1)
    modules: frozenset[str] = frozenset()
    cpu: frozenset[str] = frozenset({"vmx"})
    kvm_at_load: bool | None = None
    kvm: bool | None = True
    secure_boot: bool | None = None
    driver: bool = True
    virtualbox: VirtualBoxFacts | None = None
    missing: tuple[tools.HostTool, ...] = ()
    memory: int = 16 << 30
    available: int = 12 << 30
    rooms: Mapping[str, Room] = field(default_factory=dict)
    cached: frozenset[str] = frozenset()
    taken: Mapping[int, str] = field(default_factory=dict)
    namespaces: bool = True
    sysctls: Mapping[str, int] = field(default_factory=dict)
    subordinate: bool = True
    mirror: Mirror | None = None
    time: float = 0.0
    system: str = "Linux"
    features: frozenset[str] = frozenset()


def gather(config: Config, *, output: Path, offline: bool = False) -> HostFacts:
    """Look at this host.

    Args:
        config: what is to be built, which decides ports, mirror and tools.
        output: the directory for the OVA.
        offline: ask no mirror.
    """
    if platform.system() != "Linux":
        return _of_a_seat(config)
    root = os.geteuid() == 0
    search = tuple(Path(p) for p in (*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    kvm = Path("/dev/kvm")
    memory = _memory()
    return HostFacts(
        root=root,
        user=_user(),
        architecture=platform.machine(),
        kernel=_kernel(platform.release()),
        modules=frozenset(line.split()[0] for line in _read("/proc/modules").splitlines()),
        cpu=_cpu_flags(_read("/proc/cpuinfo")),
        kvm_at_load=_boolean(_read("/sys/module/kvm/parameters/enable_virt_at_load")),
        kvm=os.access(kvm, os.R_OK | os.W_OK) if kvm.exists() else None,
        secure_boot=_secure_boot(),
        driver=Path("/dev/vboxdrv").exists(),
        virtualbox=_virtualbox(),
        missing=tuple(
            tool
            for tool in tools.needed_tools(config.distribution, root=root, arch=config.architecture)
            if not tools.present(tool, search)
        ),
        memory=memory.get("MemTotal", 0),
        available=memory.get("MemAvailable", 0),
        rooms={
            "cache": _room(places.cache()),
            "output": _room(output),
            "temporary": _room(Path(tempfile.gettempdir())),
            "data": _room(Path(platformdirs.user_data_dir(places.APPLICATION))),
            "state": _room(Path(platformdirs.user_state_dir(places.APPLICATION))),
        },
        cached=_finished_stages(config),
        taken=_taken_ports(config),
        namespaces=_namespaces(),
        sysctls={name: value for name in _SYSCTLS if (value := _sysctl(name)) is not None},
        subordinate=root or all(_subordinate(Path(p)) for p in ("/etc/subuid", "/etc/subgid")),
        mirror=None if offline or config.image else _mirror(config),
        time=time.time(),
    )


def _of_a_seat(config: Config) -> HostFacts:
    """What a host that is no Linux is and has: it runs appliances and builds none."""
    system = platform.system()
    total, free = windows.memory() if system == "Windows" else (0, 0)
    return HostFacts(
        system=system,
        architecture=platform.machine(),
        virtualbox=_virtualbox(),
        features=windows.features() if system == "Windows" else frozenset(),
        memory=total,
        available=free,
        rooms={"data": _room(Path(platformdirs.user_data_dir(places.APPLICATION)))},
        taken=_taken_ports(config),
        time=time.time(),
    )


def _taken_ports(config: Config) -> dict[int, str]:
    return {
        forward.host: ports.holder(forward.host)
        for forward in config.network.forwards.values()
        if not ports.free("" if forward.public else "127.0.0.1", forward.host)
    }


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())


def _kernel(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _cpu_flags(cpuinfo: str) -> frozenset[str]:
    found = re.search(r"^flags\s*: (.*)$", cpuinfo, re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def _boolean(text: str) -> bool | None:
    return {"Y": True, "1": True, "N": False, "0": False}.get(text.strip())


def _secure_boot() -> bool | None:
    """The last byte of the firmware's variable, after four bytes of attributes (UEFI 3.3)."""
    try:
        value = _SECURE_BOOT.read_bytes()
    except OSError:
        return None
    return value[-1:] == b"\x01"


def _virtualbox() -> VirtualBoxFacts | None:
    try:
        manage = vbox.find()
    except vbox.VBoxError:
        return None
    portable = vbox.portable.find_fetched()
    fetched = portable is not None and portable.path == manage.path
    try:
        return VirtualBoxFacts(manage.path, manage.version(), fetched)
    except (vbox.VBoxError, OSError) as error:
        return VirtualBoxFacts(manage.path, None, fetched, str(error).splitlines()[0])


def _memory() -> dict[str, int]:
    """Bytes by name from /proc/meminfo, which counts in KiB (proc_meminfo(5))."""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in lines}


def _room(path: Path) -> Room:
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), Path("/"))
    try:
        return Room(
            path,
            there.stat().st_dev,
            shutil.disk_usage(there).free,
            writable=there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        )
    except OSError:
        return Room(path, 0, 0, writable=False)


def _finished_stages(config: Config) -> frozenset[str]:
    """The stages that are finished, by what is known of the mirror."""
    try:
        planned = steps(request(config, offline=True), None)
    except ApplianceError:  # nothing is known, or nothing can be kept here: the rooms say so
        return frozenset()
    return frozenset(step.name for step in planned if step.cached)


def _namespaces() -> bool:
    """Whether a user namespace can be made: many settings forbid it, and only trying tells."""
    try:
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "true"],
            check=False,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _sysctl(name: str) -> int | None:
    text = _read(Path("/proc/sys") / name.replace(".", "/")).strip()
    return int(text) if text.isdigit() else None


def _subordinate(path: Path) -> bool:
    names = {_user(), str(os.geteuid())}
    return any(line.split(":")[0] in names for line in _read(path).splitlines())


def _mirror(config: Config) -> Mirror:
    source = archive.sources(
        config.distribution, config.suite, config.mirror, arch=config.architecture
    )[0]
    url = f"{source.uri.rstrip('/')}/dists/{source.suite}/InRelease"
    try:
        way = proxy.of(config.proxy)
    except HostNotReadyError as error:
        return Mirror(url, trouble=str(error))
    through = f"{way} ({way.source})" if way.urls else ""
    asked = time.time()
    try:
        with way.opener().open(url, timeout=_MIRROR_SECONDS) as answer:
            raw, date = answer.read(), answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        return Mirror(url, trouble=f"HTTP status {error.code}", proxy=through)
    except (OSError, ValueError) as error:
        return Mirror(url, trouble=str(getattr(error, "reason", error)), proxy=through)
    return Mirror(
        url,
        signature=_signature(raw, source.keyring),
        valid_until=_header(raw.decode(errors="replace"), "Valid-Until"),
        clock=_seconds(date) - (asked + time.time()) / 2 if date else None,
        proxy=through,
    )


def _signature(raw: bytes, keyring: Path) -> str:
    gpgv = shutil.which("gpgv")
    if gpgv is None or not keyring.exists():
        return "unchecked"
    with tempfile.NamedTemporaryFile() as file:
        file.write(raw)
        file.flush()
        done = subprocess.run(
            [gpgv, "--keyring", str(keyring), file.name],
            check=False,
            capture_output=True,
            text=True,
            env={"LC_ALL": "C"},
            timeout=30,
        )
    if done.returncode == 0:
        return "good"
    lines = [line.removeprefix("gpgv: ").strip() for line in done.stderr.splitlines()]
    return next((line for line in reversed(lines) if line), "not signed by the distribution")


def _header(release: str, name: str) -> float | None:
    found = re.search(rf"^{name}: (.+)$", release, re.MULTILINE)
    return _seconds(found[1]) if found else None


def _seconds(date: str) -> float:
    with contextlib.suppress(ValueError, TypeError):
        return parsedate_to_datetime(date).timestamp()
    return time.time()
