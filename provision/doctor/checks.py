"""What this host can and cannot do, judged from the facts; nothing here looks at the host.

A check that fails stops a build. A warning stops or slows something else, and says what.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from provision.config import Config, architectures
from provision.config.distributions import DISTRIBUTIONS
from provision.doctor.facts import HostFacts

GIB = 1 << 30
Status = Literal["ok", "note", "warning", "failed"]

_BUILD_MEMORY = 1 * GIB
_CACHE_NEEDED = {"none": 6 * GIB, "passagemath": 20 * GIB, "debian": 20 * GIB, "tarball": 30 * GIB}
_OUTPUT_NEEDED = {"none": 2 * GIB, "passagemath": 5 * GIB, "debian": 5 * GIB, "tarball": 8 * GIB}
_TEMPORARY_NEEDED = GIB // 2
_KEPT_NEEDED = GIB // 16
"""Of keys, records and logs."""
_SEAT_NEEDED = 10 * GIB
"""Of the disks of one appliance with Sage, and of the version that comes after it."""

_SLOW_STAGES = frozenset({"base", "packages"})
_ALL_STAGES = frozenset({"base", "packages", "configure", "seal", "disks"})
_KEYRING = "/usr/share/keyrings/oracle-virtualbox.gpg"
_REPOSITORY = (
    "wget -qO- https://www.virtualbox.org/download/oracle_vbox_2016.asc"
    f" | sudo gpg --dearmor --yes -o {_KEYRING}"
    f' && echo "deb [arch=amd64 signed-by={_KEYRING}] https://download.virtualbox.org/virtualbox'
    '/debian $(. /etc/os-release && echo $VERSION_CODENAME) contrib"'
    " | sudo tee /etc/apt/sources.list.d/virtualbox.list"
    " && sudo apt-get update && sudo apt-get install virtualbox-7.2"
)
"""As https://www.virtualbox.org/wiki/Linux_Downloads has it; Debian's stable has no VirtualBox."""
_VIRTUALBOX_OF_ARM = (7, 1)
_INSTALL = {
    "Windows": "winget install --id Oracle.VirtualBox",
    "Darwin": "brew install --cask virtualbox",
}
_CLOCK_SECONDS = 300
"""A mirror's InRelease that is dated later than now is refused; TLS forgives some minutes."""

_KVM_TAKES_ALL = (6, 12)
"""From here on the KVM modules hold VT-x or AMD-V from the moment they are loaded (Linux commit
b4886fab6fb6), unless kvm.enable_virt_at_load is 0."""

_VIRTUALBOX_SHARES = (7, 2, 10)
"""From here on VirtualBox asks KVM for the hardware, and needs enable_virt_at_load to be 1
(VirtualBox issues 711 and 713)."""


@dataclass(frozen=True)
class Diagnosis:
    """One line of the doctor's table.

    Args:
        name: what was looked at.
        status: ``failed`` stops a build; ``warning`` something else.
        found: what there is.
        mend: the one command, or the one thing to do, that mends it.
    """

    name: str
    status: Status
    found: str
    mend: str = ""


def examine(facts: HostFacts, config: Config) -> list[Diagnosis]:
    """Judge everything that this kind of host is used for."""
    judges = _JUDGES if facts.system == "Linux" else _JUDGES_OF_A_SEAT
    return [check for judge in judges for check in judge(facts, config)]


def _sudo(facts: HostFacts, command: str) -> str:
    return command if facts.root else f"sudo {command}"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _platform(facts: HostFacts, config: Config) -> Iterator[Diagnosis]:
    here = architectures.of_machine(facts.architecture)
    if here is None:
        yield Diagnosis(
            "processor",
            "failed",
            f"{facts.architecture}: the appliance is for amd64 or arm64",
            "build on a host of one of these",
        )
    elif here != (config.arch or here):
        yield Diagnosis(
            "processor",
            "warning",
            f"{here}, and the guest is {config.arch}: QEMU emulates it, some ten times as"
            " slow as here, and no VM of it starts here",
            f"build on a host with {config.arch}, or have patience",
        )
    elif here == "arm64":
        yield Diagnosis("processor", "ok", "arm64")
    elif facts.cpu & {"vmx", "svm"}:
        yield Diagnosis("processor", "ok", "x86-64 with hardware virtualization")
    else:
        yield Diagnosis(
            "processor",
            "warning",
            "no hardware virtualization: VirtualBox starts no VM here",
            "switch on VT-x or AMD-V (SVM) in the firmware's settings"
            if "hypervisor" not in facts.cpu
            else "switch on nested virtualization for this VM",
        )
    if "amx_tile" in facts.cpu:
        yield Diagnosis(
            "processor AMX",
            "note",
            "User-Mode Linux 6.1 and 6.12 panic on this processor",
            "for graders use the bubblewrap engine, or User-Mode Linux of a newer kernel",
        )


def _tools(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    for tool in facts.missing:
        yield Diagnosis(
            f"tool {tool.name}",
            "failed",
            f"missing: {tool.purpose}",
            _sudo(facts, f"apt-get install --yes {tool.package}"),
        )
    if not facts.missing:
        yield Diagnosis("tools", "ok", "all there")


def _virtualbox(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    found = facts.virtualbox
    if found is None:
        yield Diagnosis(
            "VirtualBox",
            "warning",
            "not installed; a build makes the OVA and no VM"
            if facts.system == "Linux"
            else "not installed",
            _INSTALL.get(facts.system, _REPOSITORY),
        )
    elif found.version is None:
        yield Diagnosis(
            "VirtualBox",
            "warning",
            f"{found.path} does not work: {found.trouble}",
            "install VirtualBox again",
        )
    else:
        version = ".".join(map(str, found.version))
        if found.version < (7, 0):
            yield Diagnosis(
                "VirtualBox",
                "warning",
                f"{version} is no longer supported",
                "upgrade VirtualBox to 7.0 or later",
            )
        elif found.portable:
            yield Diagnosis(
                "VirtualBox",
                "warning",
                f"{version}, fetched by us: it starts no VM",
                _REPOSITORY,
            )
        else:
            yield Diagnosis("VirtualBox", "ok", version)


def _driver(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    found = facts.virtualbox
    if found is None or found.portable or found.version is None:
        return
    if facts.driver:
        yield Diagnosis("VirtualBox driver", "ok", "loaded")
    elif facts.secure_boot:
        yield Diagnosis(
            "VirtualBox driver",
            "warning",
            "not loaded: Secure Boot refuses a driver that is not signed with an enrolled key",
            _sudo(facts, "mokutil --import /var/lib/dkms/mok.pub") + ", then restart and enroll it",
        )
    else:
        yield Diagnosis(
            "VirtualBox driver",
            "warning",
            "not loaded: no VM starts",
            _sudo(facts, "modprobe vboxdrv"),
        )


def _kvm_conflict(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    loaded = sorted(facts.modules & {"kvm_intel", "kvm_amd"})
    found = facts.virtualbox
    if not loaded or facts.kernel < _KVM_TAKES_ALL or found is None or found.portable:
        return
    shares = (found.version or ()) >= _VIRTUALBOX_SHARES
    holds = facts.kvm_at_load is not False
    if shares == holds:
        yield Diagnosis("VirtualBox beside KVM", "ok", "they share the hardware")
        return
    unload = _sudo(facts, f"modprobe --remove {loaded[0]} kvm")
    if shares:
        yield Diagnosis(
            "VirtualBox beside KVM",
            "warning",
            "VirtualBox 7.2.10 and later start no VM while kvm.enable_virt_at_load is 0",
            f"{unload}; for good, remove enable_virt_at_load=0 from /etc/modprobe.d and the"
            " kernel's command line",
        )
    else:
        option = _sudo(facts, "tee /etc/modprobe.d/virtualbox-kvm.conf")
        yield Diagnosis(
            "VirtualBox beside KVM",
            "warning",
            f"{loaded[0]} holds the hardware virtualization on kernels from 6.12 on: no VM starts",
            f"echo options kvm enable_virt_at_load=0 | {option} && {unload}",
        )


def _free(facts: HostFacts) -> str:
    return f"{_gib(facts.available)} of {_gib(facts.memory)} free"


def _vms_memory(facts: HostFacts, config: Config, more: str) -> Diagnosis:
    """Whether the VM has room beside what runs; ``more``: how there is more."""
    if facts.available >= config.memory:
        return Diagnosis("memory", "ok", _free(facts))
    return Diagnosis(
        "memory",
        "warning",
        f"{_free(facts)}; the VM wants {_gib(config.memory)}",
        f"{more}, or lower memory: and pool.count: in appliance.yml",
    )


def _memory(facts: HostFacts, config: Config) -> Iterator[Diagnosis]:
    if facts.available < _BUILD_MEMORY:
        yield Diagnosis(
            "memory",
            "failed",
            f"{_free(facts)}; a build needs {_gib(_BUILD_MEMORY)}",
            "end what uses it: ps -eo rss,comm --sort -rss | head",
        )
    else:
        yield _vms_memory(facts, config, "end what uses it")


def _rooms(facts: HostFacts, config: Config) -> Iterator[Diagnosis]:
    cache = _CACHE_NEEDED[config.sage.source]
    if facts.cached >= _SLOW_STAGES:  # what is left is the disks, and they are a third of it
        cache //= 12 if facts.cached >= _ALL_STAGES else 3
    needed = {
        "cache": (cache, "set XDG_CACHE_HOME to a larger disk"),
        "output": (_OUTPUT_NEEDED[config.sage.source], "build into a directory on a larger disk"),
        "temporary": (_TEMPORARY_NEEDED, "set TMPDIR to a larger disk"),
        "data": (_KEPT_NEEDED, "set XDG_DATA_HOME or HOME to a directory that you may write to"),
        "state": (
            _KEPT_NEEDED,
            "set XDG_STATE_HOME or HOME to a directory that you may write to",
        ),
    }
    for purpose, room in facts.rooms.items():
        need, mend = needed[purpose]
        beside = [
            p
            for p, other in facts.rooms.items()
            if other.device == room.device and needed[p][0] > _KEPT_NEEDED
        ]
        together = sum(needed[p][0] for p in beside)
        found = f"{_gib(room.free)} free in {room.path}"
        if not room.writable:
            yield Diagnosis(f"{purpose} directory", "failed", f"{room.path} is not writable", mend)
        elif room.free < need:
            yield Diagnosis(
                f"{purpose} directory", "failed", f"{found}; a build needs {_gib(need)}", mend
            )
        elif purpose in beside and room.free < together:
            yield Diagnosis(
                f"{purpose} directory",
                "warning",
                f"{found}, which it shares with {' and '.join(p for p in beside if p != purpose)};"
                f" together they may need {_gib(together)}",
                mend,
            )
        else:
            yield Diagnosis(f"{purpose} directory", "ok", found)


def _ports(facts: HostFacts, config: Config) -> Iterator[Diagnosis]:
    for name, forward in config.network.forwards.items():
        holder = facts.taken.get(forward.host)
        what = f"port {forward.host} ({name})"
        if holder is None:
            yield Diagnosis(what, "ok", "free")
            continue
        key = f"network.forwards.{name}.host"
        if config.network.auto:
            yield Diagnosis(
                what,
                "warning",
                f"held by {holder}; the next free one will be taken",
                f"end it, or write another {key}",
            )
        else:
            yield Diagnosis(what, "failed", f"held by {holder}", f"end it, or write another {key}")


def _namespaces(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    if facts.root:
        return
    user = facts.user
    switches = (
        ("kernel.unprivileged_userns_clone", 0, 1),
        ("user.max_user_namespaces", 0, 15000),
        ("kernel.apparmor_restrict_unprivileged_userns", 1, 0),
    )
    if facts.namespaces:
        yield Diagnosis("user namespaces", "ok", "allowed")
    else:
        forbidding = next((s for s in switches if facts.sysctls.get(s[0]) == s[1]), None)
        yield Diagnosis(
            "user namespaces",
            "failed",
            f"{forbidding[0]} is {forbidding[1]}" if forbidding else "not allowed on this host",
            f"sudo sysctl --write {forbidding[0]}={forbidding[2]}"
            if forbidding
            else "build as root: sudo appliance build",
        )
    if not facts.subordinate:
        yield Diagnosis(
            "subordinate ids",
            "failed",
            f"{user} has none in /etc/subuid and /etc/subgid",
            f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}",
        )
    if facts.kvm is False:
        yield Diagnosis(
            "KVM",
            "warning",
            f"{user} may not use /dev/kvm: provisioning is many times slower",
            f"sudo usermod --append --groups kvm {user}, then sign in again",
        )
    elif facts.kvm is None:
        yield Diagnosis(
            "KVM",
            "warning",
            "there is no /dev/kvm: provisioning in QEMU is many times slower",
            "build as root, which provisions with systemd-nspawn: sudo appliance build",
        )


def _mirror(facts: HostFacts, config: Config) -> Iterator[Diagnosis]:
    mirror, keyring = facts.mirror, DISTRIBUTIONS[config.distribution].keyring_package
    if mirror is None:
        return
    through = f" through {mirror.proxy}" if mirror.proxy else ""
    if mirror.trouble:
        yield Diagnosis(
            "package mirror",
            "failed",
            f"{mirror.url}{through}: {mirror.trouble}",
            "its user and password: http_proxy=http://USER:PASSWORD@HOST:PORT in the environment"
            if " 407" in mirror.trouble
            else "check the network, and mirror:, suite: and proxy: in appliance.yml",
        )
        return
    if mirror.signature not in ("good", "unchecked"):
        yield Diagnosis(
            "package mirror",
            "failed",
            f"{mirror.url}: bad signature: {mirror.signature}",
            _sudo(facts, f"apt-get install --yes --only-upgrade {keyring}"),
        )
    elif mirror.valid_until is not None and mirror.valid_until < facts.time:
        days = (facts.time - mirror.valid_until) / 86400
        yield Diagnosis(
            "package mirror",
            "failed",
            f"{mirror.url} expired {days:.1f} days ago",
            "choose another mirror: in appliance.yml, or mend this host's clock",
        )
    else:
        signed = ", signed by the distribution" if mirror.signature == "good" else ""
        yield Diagnosis("package mirror", "ok", f"{mirror.url} answers{through}{signed}")
    if mirror.clock is None:
        return
    skew = abs(mirror.clock)
    if skew > _CLOCK_SECONDS:
        side = "behind" if mirror.clock > 0 else "ahead of"
        yield Diagnosis(
            "clock",
            "failed",
            f"{skew:.0f} s {side} the mirror's",
            _sudo(facts, "timedatectl set-ntp true"),
        )
    else:
        yield Diagnosis("clock", "ok", f"within {max(1, skew):.0f} s of the mirror's")


def _seat(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    name = {"Darwin": "macOS"}.get(facts.system, facts.system)
    yield Diagnosis(
        "this host",
        "note",
        f"{name} runs, renews and administers appliances; building one needs a Linux host",
        "build in a Linux VM or, on Windows, in WSL (wsl --install -d Debian)",
    )
    here = architectures.of_machine(facts.architecture)
    if here is None:
        yield Diagnosis(
            "processor",
            "warning",
            f"{facts.architecture}: the appliance is for amd64 or arm64 and starts on no other",
            "run it on a host of one of these, and open it here in a browser",
        )
    elif here == "arm64":
        found = facts.virtualbox
        if found and found.version and found.version < _VIRTUALBOX_OF_ARM:
            yield Diagnosis(
                "processor",
                "warning",
                "arm64: VirtualBox starts VMs on it from 7.1 on",
                _INSTALL.get(facts.system, _REPOSITORY),
            )
        else:
            yield Diagnosis("processor", "note", "arm64: take the appliance with `arch: arm64`")


def _seats_room(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    room = facts.rooms["data"]
    found = f"{_gib(room.free)} free in {room.path}"
    if not room.writable:
        yield Diagnosis(
            "data directory", "failed", f"{room.path} is not writable", "mend its rights"
        )
    elif room.free < _SEAT_NEEDED:
        need = f"an appliance needs {_gib(_SEAT_NEEDED)}"
        yield Diagnosis("data directory", "warning", f"{found}; {need}", "make room on that disk")
    else:
        yield Diagnosis("data directory", "ok", found)


def _seats_memory(facts: HostFacts, config: Config) -> Iterator[Diagnosis]:
    if facts.memory:
        yield _vms_memory(facts, config, "close other programs")


def _hypervisors(facts: HostFacts, _: Config) -> Iterator[Diagnosis]:
    """Windows' own hypervisor leaves VirtualBox a slow way to run VMs, or none."""
    slow = "VirtualBox's VMs run many times slower, or do not start, while it is on"
    if "memory integrity" in facts.features or "vbs" in facts.features:
        on = "memory integrity is on" if "memory integrity" in facts.features else "on"
        yield Diagnosis(
            "virtualization-based security",
            "warning",
            f"{on}: {slow}",
            "Windows Security, Device security, Core isolation: memory integrity off, then restart;"
            " where it stays on: bcdedit /set hypervisorlaunchtype off as administrator. It also"
            " protects this computer: ask who is responsible for it",
        )
    if "hyper-v" in facts.features:
        yield Diagnosis(
            "Hyper-V",
            "warning",
            f"installed: {slow}",
            "dism /online /disable-feature /featurename:Microsoft-Hyper-V-All as administrator,"
            " then restart",
        )
    if "wsl" in facts.features:
        yield Diagnosis(
            "WSL",
            "warning",
            f"installed, and WSL 2 brings Windows' hypervisor: {slow}",
            "wsl --shutdown; where nobody needs it: dism /online /disable-feature"
            " /featurename:VirtualMachinePlatform as administrator, then restart",
        )


_JUDGES: tuple[Callable[[HostFacts, Config], Iterator[Diagnosis]], ...] = (
    _platform,
    _tools,
    _namespaces,
    _virtualbox,
    _driver,
    _kvm_conflict,
    _memory,
    _rooms,
    _ports,
    _mirror,
)

_JUDGES_OF_A_SEAT: tuple[Callable[[HostFacts, Config], Iterator[Diagnosis]], ...] = (
    _seat,
    _virtualbox,
    _hypervisors,
    _seats_memory,
    _seats_room,
    _ports,
)
