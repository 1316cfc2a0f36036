"""Renew this appliance's packages: renew-system STEP [ARGUMENT...], as root; one JSON object out.

Before anything changes, ``begin`` writes a record of what there is. From then on apt itself calls
``keep`` before it touches a package, whoever asked it to, and the package is put back together
from its installed files: mirrors keep no old versions. With these, the files of the playbooks and
the list of packages, ``back`` leads back. Until ``confirm``, a timer and a unit at boot do that,
whatever becomes of the host that asked.
"""

import contextlib
import fcntl
import json
import os
import pwd
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .answers import GOES_BACK, Confirmed, State, SystemFacts
from .journal import LATE, Journal
from .lease import guarding
from .program import (
    RefusedError,
    answer,
    boot_id,
    failed_units,
    free_memory,
    itself,
    later,
    pool_accounts,
    run,
    try_lock,
    write,
)
from .written import HOOK, duplicate, put_back, record

STATE = Path("/var/lib/appliance/system")
KEPT = STATE / "packages"
FILES = STATE / "files"
UNDONE = STATE / "undone"
BEFORE = STATE / "before.json"
STATUS, STATUS_BEFORE = Path("/var/lib/dpkg/status"), STATE / "status"
UNIT, BACK, WORK = "appliance-system", "appliance-system-back", "appliance-system-work"
HUB = ("notebook", "notebook-proxy", "sshd-pool")
HUB_FILES = Path("/var/lib/notebook")
# What else the playbooks start anew, in its order.
RULES = ("nftables", "notebook-firewall", "notebook-egress", "notebook-usage")
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config", "templates")
PARTS = {*SCRIPTS, "triggers", "shlibs", "symbols", "md5sums"}
# What only a new start replaces.
BOOTED = ("linux-image-", "libc6", "systemd", "dbus", "libssl3")
JOURNAL = Journal(STATE, BACK)
LOCK_SECONDS = 600
AGAIN_SECONDS = 120
DPKG = (
    *("dpkg", "--force-confdef", "--force-confold", "--force-depends", "--force-breaks"),
    *("--force-conflicts", "--force-overwrite", "--force-remove-essential"),
)
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


def look() -> SystemFacts:
    """What there is: room, how far an upgrade has come, what the playbooks must know."""
    room = os.statvfs("/")
    current = Path("/opt/sage-current")
    return SystemFacts(
        state=JOURNAL.state(),
        working=run("systemctl", "is-active", f"{WORK}.service", check=False).strip()
        in ("active", "activating", "deactivating"),
        free=room.f_bavail * room.f_frsize,
        memory=free_memory(),
        boot=boot_id(),
        reboot=needs_reboot(),
        hostname=os.uname().nodename,
        sage=current.readlink().name.removeprefix("sage-") if current.is_symlink() else None,
        pool=pool_accounts(),
        failed=failed_units(),
    )


def begin(seconds: str) -> SystemFacts:
    """Write the record, and from now on keep what apt replaces."""
    if broken := run("dpkg", "--audit").strip():
        raise RefusedError(f"packages are half installed already: {broken[:300]}")
    HOOK.unlink(missing_ok=True)
    me = itself()
    unit = Path(f"/etc/systemd/system/{UNIT}.service")
    write(
        unit,
        "[Unit]\nDescription=Go back when an upgrade of the system was not confirmed\n"
        f"ConditionPathExists={STATE}/state.json\n\n"
        # Not before other units: packages' scripts start and stop those.
        f"[Service]\nType=exec\nExecStart={me} boot\n\n[Install]\nWantedBy=multi-user.target\n",
    )
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--quiet", unit.name)
    for place in (KEPT, FILES, UNDONE):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
    record(FILES)
    before = {"packages": packages(), "failed": failed_units(), "running": running_units()}
    write(BEFORE, json.dumps(before), mode=0o600)
    shutil.copy2(STATUS, STATUS_BEFORE)
    JOURNAL.write(State(step="recorded", seconds=int(seconds), since=time.time()))
    os.sync()
    write(
        HOOK,
        f'DPkg::Pre-Install-Pkgs {{"{me} keep";}};\n'
        f'DPkg::Tools::Options::{me}::Version "3";\n'
        f'DPkg::Lock::Timeout "{LOCK_SECONDS}";\n',
    )
    arm()
    return look()


def upgrade() -> dict[str, Any]:
    """Begin to bring all packages up to date; ``look`` tells when it has ended."""
    JOURNAL.require("recorded")
    JOURNAL.advance("upgrading")
    start = ("systemd-run", "--quiet", "--collect", f"--unit={WORK}")
    run(*start, itself(), "work")
    return {}


def work() -> SystemFacts:
    """Bring all packages up to date; outlives the connection that asked for it."""
    options = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
    try:
        run("apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update")
        run("apt-get", "-q", "-y", *options, "dist-upgrade")
        run("apt-get", "-q", "clean")
    except RefusedError as error:
        if JOURNAL.state().step == "upgrading":
            JOURNAL.advance("upgrading", error=str(error))
        raise
    JOURNAL.require("upgrading")  # else it went back meanwhile
    JOURNAL.advance("upgraded")
    return look()


def keep() -> dict[str, Any]:
    """Called by apt with what it is about to do: put the packages together that will change."""
    lines = iter(sys.stdin.read().splitlines())
    for line in lines:  # the configuration ends with an empty line
        if not line:
            break
    for line in lines:
        name, old, arch, _, _, new, *_ = line.split(" ", 8)
        if old not in ("-", new):
            pack(name, arch, old)
    os.sync()
    return {}


def check() -> SystemFacts:
    """Look after packages and services; what failed before may fail on."""
    if broken := run("dpkg", "--audit").strip():
        raise RefusedError(f"packages are half installed: {broken[:300]}")
    before = json.loads(BEFORE.read_text())["failed"]
    if worse := sorted(set(failed_units()) - set(before)):
        raise RefusedError(f"failed units: {', '.join(worse)}")
    dead = [
        unit
        for unit in HUB
        if Path(f"/etc/systemd/system/{unit}.service").exists()
        and run("systemctl", "is-active", unit, check=False).strip() != "active"
    ]
    if dead:
        raise RefusedError(f"not running: {', '.join(dead)}")
    return look()


def extend() -> dict[str, Any]:
    """The host is still at work: wait for it anew."""
    JOURNAL.require(*GOES_BACK)
    arm()
    return {}


def reboot() -> dict[str, Any]:
    """Start anew; whoever asked must confirm afterwards."""
    JOURNAL.require("recorded", "upgraded")
    JOURNAL.advance("rebooting")
    os.sync()
    run("systemd-run", "--quiet", "--collect", "--on-active=1", "systemctl", "reboot")
    return {}


def confirm() -> Confirmed:
    """What is now stays; the record stays, too, for ``undo``."""
    if JOURNAL.state().step not in (*GOES_BACK, "healthy"):
        raise RefusedError(LATE)
    changed, stale = changes(), boot_id() if needs_reboot() else None
    HOOK.unlink(missing_ok=True)
    JOURNAL.write(State(step="healthy", since=time.time(), stale=stale))
    JOURNAL.rest()
    return Confirmed(**vars(look()), changed=changed)


def back(reason: str) -> SystemFacts:
    """Lead back to the record, unless it was confirmed."""
    if JOURNAL.state().step in (*GOES_BACK, "going back"):
        _go_back(reason)
    return look()


def again() -> dict[str, Any]:
    """Go on with a way back that was killed."""
    state = JOURNAL.state()
    if state.step == "going back":
        _go_back(str(state.reason))
    return {}


def undo() -> SystemFacts:
    """Lead back to before the last upgrade, confirmed or not."""
    if not BEFORE.exists():
        raise RefusedError("there is no record of an upgrade")
    _go_back("asked for")
    return look()


def boot() -> SystemFacts | dict[str, Any]:
    """After each start: a reboot that we asked for waits for its confirmation."""
    if JOURNAL.state().step == "rebooting":
        JOURNAL.advance("rebooted")
        arm()
        return {}
    return back("the appliance lost its power meanwhile")


def _go_back(reason: str) -> None:
    seconds = JOURNAL.state().seconds
    JOURNAL.write(State(step="going back", reason=reason, seconds=seconds))
    JOURNAL.rest()
    soon = AGAIN_SECONDS if seconds is None else min(seconds, AGAIN_SECONDS)
    # Its own name each time: it may be this very unit that goes on.
    later(f"{BACK}-{time.time_ns()}", soon, "again")
    run("systemctl", "kill", "--signal=SIGKILL", f"{WORK}.service", check=False)
    with _alone():
        pass
    HOOK.unlink(missing_ok=True)
    run(*DPKG, "--configure", "-a", check=False)
    record = json.loads(BEFORE.read_text())
    before, now = record["packages"], packages()
    wanted = {name: version for name, version in before.items() if now.get(name) != version}
    old = [_place_of_package(name, version) for name, version in wanted.items()]
    if missing := [path.name for path in old if not path.exists()]:
        raise RefusedError(f"not kept: {', '.join(missing[:5])}")
    if old:
        run(*DPKG, "--install", *map(str, old))
    # The running kernel refuses to go; it is not the one of the next start any more.
    kernel = f"linux-image-{os.uname().release}"
    if new := [name for name in packages() if name not in before and not name.startswith(kernel)]:
        run(*DPKG, "--purge", *new)
    put_back(FILES, UNDONE)
    run("ldconfig")
    run("systemctl", "daemon-reload")
    _hand_back()
    for unit in (*RULES, *HUB):
        run("systemctl", "try-restart", unit, check=False)
    if stopped := sorted(set(record["running"]) - set(running_units())):
        run("systemctl", "start", *stopped, check=False)  # some have done their work meanwhile
    if left := changes():
        raise RefusedError(f"not as before: {', '.join(sorted(left)[:5])}")
    # Selections, and which configuration files were changed here: packages put together again
    # know the files as they are only.
    with _alone():
        fresh = STATUS.with_name("status.back")
        shutil.copy2(STATUS_BEFORE, fresh)
        fresh.replace(STATUS)
    JOURNAL.write(State(step="back", reason=reason, since=time.time()))


def _hand_back() -> None:
    """The hub's files stay as they are now; they are its user's, who may be another than before."""
    user, now = run("systemctl", "show", "-P", "User", "notebook").strip(), HUB_FILES.stat().st_uid
    if user and pwd.getpwnam(user).pw_uid != now:
        run("pkill", "-x", "-u", str(now), "ssh", check=False)  # sessions; nobody could end them
        run("chown", "-RPh", f"{user}:", str(HUB_FILES))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold dpkg's lock; let another end first, such as an orphaned task of Ansible."""
    with Path("/var/lib/dpkg/lock").open("a") as file:
        if not try_lock(file, LOCK_SECONDS, how=fcntl.lockf):
            raise RefusedError("another dpkg does not end")
        yield


def pack(name: str, arch: str, version: str) -> None:
    """Put an installed package together again, as it is on the disk.

    A configuration file that was changed here comes as it is here, and so stays.
    """
    target = _place_of_package(f"{name}:{arch}", version)
    if target.exists():
        return
    info = Path("/var/lib/dpkg/info")
    stem = next(s for s in (f"{name}:{arch}", name) if (info / f"{s}.list").exists())
    tree = KEPT / ".tree"
    shutil.rmtree(tree, ignore_errors=True)
    control = tree / "DEBIAN"
    control.mkdir(parents=True, mode=0o755)
    tree.chmod(0o755)
    for kind in PARTS:
        if (info / f"{stem}.{kind}").exists():
            shutil.copy2(info / f"{stem}.{kind}", control / kind)
    (control / "control").write_text(_control(stem))
    paths = [path for path in (info / f"{stem}.list").read_text().splitlines() if path != "/."]
    parents = {str(Path(path).parent) for path in paths}
    for path in paths:
        _take(tree, path, name, is_directory=path in parents)
    if (info / f"{stem}.conffiles").exists():
        kept = [
            line
            for line in (info / f"{stem}.conffiles").read_text().splitlines()
            if line.startswith("remove-on-upgrade ") or os.path.lexists(f"{tree}{line}")
        ]
        (control / "conffiles").write_text("".join(f"{line}\n" for line in kept))
    part = target.with_suffix(".part")
    run("dpkg-deb", "-Zgzip", "-z1", "--build", str(tree), str(part))
    part.replace(target)
    shutil.rmtree(tree)


def _take(tree: Path, path: str, package: str, *, is_directory: bool) -> None:
    source = Path(path)
    if path in _read_diversions() and _read_diversions()[path][1] != package:
        source = Path(_read_diversions()[path][0])
    try:
        status = source.stat() if is_directory else source.lstat()
    except FileNotFoundError:
        return  # removed by hand, or never unpacked: documentation
    target = tree / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(status.st_mode):
        target.mkdir(exist_ok=True)
        os.chown(target, status.st_uid, status.st_gid)
        target.chmod(stat.S_IMODE(status.st_mode))
    else:
        duplicate(source, target)


_diversions: dict[str, tuple[str, str]] = {}


def _read_diversions() -> dict[str, tuple[str, str]]:
    """Where packages' files are that another package has put aside, and which."""
    if not _diversions:
        lines = Path("/var/lib/dpkg/diversions").read_text().splitlines()
        _diversions.update(
            (lines[at], (lines[at + 1], lines[at + 2])) for at in range(0, len(lines) - 2, 3)
        )
        _diversions.setdefault("", ("", ""))
    return _diversions


def _control(name: str) -> str:
    """A package's description without what only an installed one has."""
    kept, skipping = [], False
    for line in run("dpkg-query", "--status", name).splitlines():
        if not line.startswith(" "):
            skipping = line.split(":")[0] in ("Status", "Conffiles", "Config-Version")
        if line and not skipping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _place_of_package(name: str, version: str) -> Path:
    return KEPT / f"{name.replace(':', '_')}_{version.replace(':', '%3a')}.deb"


def packages() -> dict[str, str]:
    """Version by name:architecture of each package that is installed whole."""
    form = "${db:Status-Abbrev}\t${Package}:${Architecture}\t${Version}\n"
    rows = [line.split("\t") for line in run("dpkg-query", "-W", "-f", form).splitlines()]
    return {name: version for state, name, version in rows if state[1] == "i"}


def changes() -> dict[str, list[str | None]]:
    """Packages that are not as in the record: before, now."""
    before, now = json.loads(BEFORE.read_text())["packages"], packages()
    return {
        name: [before.get(name), now.get(name)]
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    }


def needs_reboot() -> bool:
    """Whether something runs that only a new start replaces."""
    if Path("/run/reboot-required").exists():
        return True
    state = JOURNAL.state()
    if state.step == "healthy":
        return state.stale == boot_id()
    stale = state.step in GOES_BACK[:-1] and BEFORE.exists()
    return stale and any(name.startswith(BOOTED) for name in changes())


def running_units() -> list[str]:
    """Services that run, of those that a file describes."""
    told = run("systemctl", "list-units", "--type=service", "--state=running", "--plain",
               "--no-legend", check=False)  # fmt: skip
    names = [line.split()[0] for line in told.splitlines() if line.split()]
    return [name for name in names if not name.startswith(("run-", "session-", UNIT, "user@"))]


def arm() -> None:
    """Go back in so many seconds, unless it is confirmed before."""
    JOURNAL.wait(JOURNAL.state().seconds or 0, "back", "nobody confirmed it in time")


STEPS = (look, begin, upgrade, work, keep, check, extend, reboot, confirm, back, again, undo, boot)
# Steps of a run: only whoever has the appliance takes them.
HELD = ("begin", "upgrade", "check", "extend", "reboot", "confirm", "back", "undo")
UNLOCKED = ("look", "work", "keep")  # apt, which calls keep, may be our own; back ends it


def main() -> None:
    """Run one step; others wait for it."""
    os.environ.update(ENVIRONMENT)
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    with guarding(held=HELD):
        answer({step.__name__: step for step in STEPS}, lock=STATE / "lock", unlocked=UNLOCKED)
