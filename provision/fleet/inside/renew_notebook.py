"""Renew the notebook's Python environment: renew-notebook STEP [ARGUMENT...], as root.

Each environment is a directory below ``environments``, made for /opt/notebook and shown there by a
mount. So hub, proxy and sessions name one place, what the build has put there needs no change, and
a session that runs keeps, in its own namespace, the environment that it began with. Which one is
shown is a link, replaced by one rename; at boot it is shown again. Where there is no link it is the
build's.

The steps, each repeatable, are ``look``, ``install``, ``receive``, ``unpack``, ``prove``,
``switch``, ``check``, ``confirm``, ``back``, ``recover``, ``undo`` and ``tidy``. How far one has
come, and what leads back, is in its ``journal``, as for Sage.
"""

import contextlib
import csv
import json
import os
import pwd
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from . import incoming
from .answers import SHOWN, NotebookFacts, State
from .environment import HUB_PROOF, SESSION_PROOF, SHOWN_PROOF
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
    later,
    pool_accounts,
    remove,
    run,
    write,
)

HOME = Path("/opt/notebook")
STATE = Path("/var/lib/appliance/notebook")
ENVIRONMENTS = STATE / "environments"
CURRENT = STATE / "current"  # a link to one of them
COPY = STATE / "jupyterhub.sqlite"  # as it was before the switch
HUB_STATE = Path("/var/lib/notebook")
DATABASE = HUB_STATE / "jupyterhub.sqlite"
NURSERIES = Path("/run/nursery")  # where servers and kernels are asked for
BUILDS = "build"  # the name of what the build has put at /opt/notebook
BACK, TIDY, UNIT = "appliance-notebook-back", "appliance-notebook-tidy", "appliance-notebook"
TIDY_SECONDS = 300
UNDO_SECONDS = 120  # after which a way back that was killed is gone on with
PROVING_SECONDS = 300
HUB_SECONDS = 60
CHANGE = ".change.json"  # in an archive: what goes, and the lists
LARGEST = 16 << 20  # bytes of a file of the hub that its proof takes along
# What is in an environment and in no list: our package and what our playbooks write.
OWN = (
    *("lib/python3*/site-packages/provision", "lib/python3*/site-packages/provision-0.dist-info"),
    "lib/python3*/site-packages/classroom_appliance_guest-*.dist-info",
    *("share/jupyter/labextensions/appliance-usage", "share/jupyter/kernels/python3/kernel.json"),
    *("share/jupyter/lab/settings/overrides.json", "etc/jupyter/jupyter_config.json"),
    "etc/jupyter/jupyter_server_config.d/appliance.json",
)
OWN_NAMES = ("pip", "setuptools", "provision", "classroom-appliance-guest")


def look() -> NotebookFacts:
    """What there is: the packages of now, room, memory, how far a renewal has come."""
    site = site_of(HOME)
    return NotebookFacts(
        **RENEWAL.facts(),
        python=site.parent.name.removeprefix("python"),
        machine=os.uname().machine,
        installed=versions_in(site),
        lists={path.name: path.read_text() for path in sorted(HOME.glob("installed*.lock"))},
    )


def install(admin: str) -> NotebookFacts:
    """Make our directories and the unit that shows the environment at boot."""
    ENVIRONMENTS.mkdir(mode=0o755, parents=True, exist_ok=True)
    incoming.make(RENEWAL.incoming, admin)
    at_boot(
        f"{UNIT}.service",
        "[Unit]\nDescription=Environment of the notebook\nDefaultDependencies=no\n"
        f"RequiresMountsFor={STATE} {HOME}\nAfter=local-fs.target\nBefore=basic.target\n"
        "Conflicts=shutdown.target\nBefore=shutdown.target\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={itself()} --own boot\n\n"
        "[Install]\nWantedBy=basic.target\n",
    )
    return look()


def receive(name: str, digest: str, size: str) -> NotebookFacts:
    """Check a transferred archive and note it as received."""
    RENEWAL.receive(name, digest, size)
    return look()


def unpack(name: str, digest: str) -> NotebookFacts:
    """Make the environment beside the old one: what is the same is linked, the rest unpacked."""
    target, archive = ENVIRONMENTS / name, RENEWAL.incoming / digest
    if name == current():
        raise RefusedError(f"{name} is what is shown now")
    if not target.exists():
        part = ENVIRONMENTS / f".{name}.part"
        remove(part)
        try:
            _make(part, archive)
            os.sync()
            part.rename(target)
        finally:
            remove(part)
    RENEWAL.came(name, "unpacked", digest=digest)
    archive.unlink(missing_ok=True)
    return look()


def _make(part: Path, archive: Path) -> None:
    """Raises RefusedError where it would not be what its list says."""
    _link_tree(place_of(current()), part)
    with tempfile.TemporaryDirectory(dir=ENVIRONMENTS, prefix=".new-") as fresh:
        incoming.extract(archive, Path(fresh), 0)
        change = json.loads(Path(fresh, CHANGE).read_text())
        Path(fresh, CHANGE).unlink()
        site = site_of(part)
        coming = list(versions_in(site_of(Path(fresh)))) if list(Path(fresh).glob("lib/*")) else []
        for each in {*change["gone"], *coming}:
            take_out(site, each)
        new = sorted(Path(fresh).rglob("*"))
        for path in new:
            at = part / path.relative_to(fresh)
            if path.is_dir():
                at.mkdir(mode=0o755, exist_ok=True, parents=True)
            else:
                at.unlink(missing_ok=True)
                path.rename(at)
    for file, text in change["locks"].items():
        (part / file).unlink(missing_ok=True)
        write(part / file, text)
    # What is linked was compiled where it was new.
    places = {each.relative_to(fresh) for each in new} & {
        each.relative_to(part) for each in site.iterdir()
    }
    if places:
        _within(part, "-m", "compileall", "-q", "-j", "0", *(str(HOME / each) for each in places))


def _link_tree(source: Path, target: Path) -> None:
    """Have a tree once more, its files by further names: none is ever written into."""
    target.mkdir()
    target.chmod(0o755)
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _link_tree(Path(entry.path), target / entry.name)
            else:
                _link(entry.path, f"{target}/{entry.name}")


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def take_out(site: Path, name: str) -> None:
    """Take a package out of an environment, by its list of files, with their byte code."""
    for record in site.glob("*.dist-info/RECORD"):
        if _name_of(record.parent)[0] != name:
            continue
        with record.open(newline="") as rows:
            files = [row[0] for row in csv.reader(rows) if row]
        places = set()
        for file in files:
            path = Path(os.path.normpath(site / file))
            if not path.is_relative_to(site.parents[2]):
                continue  # it would lead out of the environment
            path.unlink(missing_ok=True)
            for code in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                code.unlink()
            places |= {path.parent / "__pycache__", path.parent}
        shutil.rmtree(record.parent)
        for place in sorted(places, key=lambda each: len(each.parts), reverse=True):
            with contextlib.suppress(OSError):  # another package's files are there, too
                while place.is_relative_to(site) and place != site:
                    place.rmdir()
                    place = place.parent  # noqa: PLW2901


def prove(name: str) -> NotebookFacts:
    """Start the hub on a copy of its files, and a session as a pool account, from it alone."""
    bring_own(HOME, ENVIRONMENTS / name)
    migrates = prove_hub(ENVIRONMENTS / name)
    prove_session(ENVIRONMENTS / name)
    RENEWAL.came(name, "proven", migrates=migrates)
    return look()


def switch(name: str, seconds: str) -> NotebookFacts:
    """Show a proven environment, for so many seconds unless it is confirmed."""
    if JOURNAL.state().step == "proven":
        COPY.unlink(missing_ok=True)  # an earlier switch's: no power cut may bring it back
    with RENEWAL.switching(name, seconds) as state:
        run("systemctl", "stop", "notebook")
        try:
            copy_database(DATABASE, COPY)
            point_at(name)
            if state.migrates:
                migrate()
        finally:
            run("systemctl", "start", "notebook")
        restart_helpers()
    return look()


def check() -> NotebookFacts:
    """Start a session as it is for students now; look after the notebook's services."""
    prove_session(None)
    check_services()
    return look()


def confirm(name: str) -> NotebookFacts:
    """What is shown stays; the one before stays for ``undo``."""
    RENEWAL.confirm(name)
    return look()


def back(reason: str) -> NotebookFacts:
    """Show the old one again, for good, and remove the new one."""
    if RENEWAL.back(reason) is not None:
        tidy("0")
    return look()


def recover() -> NotebookFacts:
    """Show the old one after a renewal that nobody confirmed; the new one stays proven."""
    RENEWAL.recover()
    return look()


def boot() -> dict[str, Any]:
    """Before anything of the notebook starts: show what is to be shown."""
    RENEWAL.recover(link_back)
    show(current())
    later(TIDY, TIDY_SECONDS, "tidy", "1")
    return {}


def undo() -> NotebookFacts:
    """Show the one before again, though the new one was confirmed."""
    state = JOURNAL.state()
    if state.step != "healthy" or state.old is None:
        raise RefusedError("there is no environment to go back to")
    old = state.old
    if not place_of(old).is_dir():
        raise RefusedError(f"the environment before, {old}, is not there any more")
    with beneath() as builds:
        bring_own(HOME, builds if old == BUILDS else place_of(old))
    # Cut off from here on, the next boot or the timer goes on with it, as after a switch.
    JOURNAL.advance("switched")
    JOURNAL.wait(UNDO_SECONDS, "recover")
    lead_back(old)
    JOURNAL.write(State(undone=state.name))
    JOURNAL.rest()
    tidy("0")
    return look()


def tidy(keep: str) -> NotebookFacts:
    """Remove environments that no session uses any more; with ``keep`` not the one before."""
    state, left = JOURNAL.state(), False
    kept: set[str | None] = {current()}
    if state.step in ("received", "unpacked", "proven", *SHOWN):
        kept |= {state.name, state.old}
    elif int(keep):
        kept.add(state.old)
    used = {shown_in(process) for process in session_processes()} - {None}
    for path in ENVIRONMENTS.iterdir():
        if path.name in used and path.name not in kept:
            left = True
        elif path.name not in kept:
            remove(path)
    if left:
        later(f"{TIDY}-{time.time_ns()}", TIDY_SECONDS, "tidy", keep)
    return look()


# The mount, and who sees which.


def current() -> str:
    """The name of the environment that is to be shown."""
    with contextlib.suppress(OSError):
        return CURRENT.readlink().name
    return BUILDS


def place_of(name: str) -> Path:
    """Where an environment is; the build's only while nothing is in front of it."""
    return HOME if name == BUILDS else ENVIRONMENTS / name


def shown_in(process: Path) -> str | None:
    """Which environment a process sees; None: it is gone."""
    try:
        lines = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return None
    tops = [words[3] for words in map(str.split, lines) if words[4] == str(HOME)]
    return Path(tops[-1]).name if tops else BUILDS


@contextlib.contextmanager
def beneath() -> Iterator[Path]:
    """What the build has put at /opt/notebook, whatever is in front of it."""
    with tempfile.TemporaryDirectory(dir="/run") as place:
        run("mount", "--bind", str(HOME.parent), place)
        try:
            yield Path(place, HOME.name)
        finally:
            run("umount", place)


def session_processes() -> Iterator[Path]:
    """The processes of pool accounts."""
    users = set()
    for account in pool_accounts():
        with contextlib.suppress(KeyError):
            users.add(pwd.getpwnam(account).pw_uid)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid in users:
                yield process


def keep_in_sessions() -> None:
    """Let each running session keep what it sees: what is mounted here from now on is not there."""
    seen: set[Path] = {Path("/proc/self/ns/mnt").readlink()}
    for process in session_processes():
        with contextlib.suppress(OSError):
            namespace = (process / "ns/mnt").readlink()
            if namespace in seen:
                continue
            seen.add(namespace)
            done = attempt("nsenter", f"--mount={process}/ns/mnt", "mount", "--make-rprivate", "/")
            if done.returncode and process.exists():
                raise RefusedError(f"a session would not keep its own: {done.stderr.strip()}")


def show(name: str) -> None:
    """Mount an environment at /opt/notebook, where all see it but sessions that run.

    The hub does not, so none begins meanwhile. What is shown goes first: a mount upon it would
    appear in its own directory, too, since both are of one group of shared mounts.
    """
    if shown_in(Path("/proc/self")) == name:
        return
    keep_in_sessions()
    while shown_in(Path("/proc/self")) != BUILDS:
        run("umount", "--lazy", str(HOME))
    if name != BUILDS:
        run("mount", "--bind", str(ENVIRONMENTS / name), str(HOME))


def link_to(name: str) -> None:
    """Say which is to be shown, by one rename(2)."""
    if name == BUILDS:
        CURRENT.unlink(missing_ok=True)
    else:
        fresh = CURRENT.with_name(".current.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(ENVIRONMENTS / name)
        fresh.replace(CURRENT)
    os.sync()


def point_at(name: str) -> None:
    """Show an environment, now and from now on."""
    link_to(name)
    show(name)


def link_back(old: str | None) -> None:
    """Say that the old environment is to be shown, and give it a database that it understands."""
    put_database_back()
    link_to(old or BUILDS)


def lead_back(old: str | None) -> None:
    """Show the old environment again."""
    run("systemctl", "stop", "notebook", check=False)
    try:
        put_database_back()
        point_at(old or BUILDS)
    finally:
        run("systemctl", "start", "notebook", check=False)
    restart_helpers()


def restart_helpers() -> None:
    """Start anew what runs of it besides the hub. Not the proxy: it is node's, and holds sessions.

    Its own file is ours and the same in each environment. What the nursery has forked goes on, and
    it forks nothing for a session that sees another environment than it does.
    """
    for unit in ("notebook-usage", "nursery@notebook"):
        run("systemctl", "try-restart", "--no-block", unit, check=False)
    later(f"{TIDY}-{time.time_ns()}", 5, "tidy", "1")


# The hub's database.


def copy_database(source: Path, target: Path) -> None:
    """Copy it whole or not at all, whatever writes into it; there may be none yet."""
    target.unlink(missing_ok=True)
    if source.exists():
        fresh = target.with_name(f".{target.name}.new")
        fresh.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old,
            contextlib.closing(sqlite3.connect(fresh)) as new,
        ):
            old.backup(new)
        fresh.chmod(0o600)
        os.sync()
        fresh.rename(target)
        os.sync()


def put_database_back() -> None:
    """Only where the new hub has changed its form: else the old one goes on with it as it is."""
    if not COPY.exists() or not DATABASE.exists() or form_of(COPY) == form_of(DATABASE):
        return
    owner = DATABASE.stat()
    fresh = STATE / "jupyterhub.sqlite.back"
    shutil.copyfile(COPY, fresh)
    fresh.chmod(0o600)
    os.chown(fresh, owner.st_uid, owner.st_gid)
    for more in ("-wal", "-shm", "-journal"):
        DATABASE.with_name(DATABASE.name + more).unlink(missing_ok=True)
    shutil.move(fresh, DATABASE)
    os.sync()


def form_of(database: Path) -> str | None:
    """The revision of its tables."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        try:
            row = opened.execute("select version_num from alembic_version").fetchone()
        except sqlite3.Error:
            return None
    return str(row[0]) if row else None


def migrate() -> None:
    """Bring it into the form of the hub that is shown now."""
    code = (
        "from jupyterhub.dbutil import upgrade_if_needed;"
        f"upgrade_if_needed('sqlite:///{DATABASE}', backup=False)"
    )
    done = attempt(
        *("systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--uid={hub_user()}"),
        *("-p", f"WorkingDirectory={HUB_STATE}", f"{HOME}/bin/python", "-I", "-c", code),
    )
    if done.returncode:
        raise RefusedError(f"the hub's database cannot be migrated: {done.stderr.strip()[-400:]}")


def hub_user() -> str:
    """Who runs the hub."""
    return run("systemctl", "show", "-P", "User", "notebook").strip() or "root"


# The proofs.


def prove_hub(place: Path) -> bool:
    """Start the hub of an environment on a copy of its files; whether its database changes form.

    Raises:
        RefusedError: it does not answer.
    """
    with tempfile.TemporaryDirectory(dir=STATE, prefix=".proof-") as scratch:
        owner = pwd.getpwnam(hub_user())
        copy = Path(scratch)
        for path in HUB_STATE.iterdir():
            if path.is_dir() and path.name == "tls":
                shutil.copytree(path, copy / path.name, symlinks=True)
            elif path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST:
                shutil.copy2(path, copy / path.name)
        for left in copy.glob("jupyterhub.sqlite*"):
            left.unlink()
        copy_database(DATABASE, copy / DATABASE.name)
        if (copy / DATABASE.name).exists():
            forget_sessions(copy / DATABASE.name)
            before = form_of(copy / DATABASE.name)
        else:
            before = None
        for path in (copy, *copy.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        _prove(
            "the hub does not start",
            HUB_PROOF,
            *(f"--uid={owner.pw_name}", "-p", f"BindPaths={copy}:{HUB_STATE}"),
            *("-p", f"BindReadOnlyPaths={place}:{HOME}", "-p", "InaccessiblePaths=-/run/notebook"),
        )
        return before is not None and form_of(copy / DATABASE.name) != before


def forget_sessions(database: Path) -> None:
    """A hub that is tried must not look after sessions that are another's."""
    with contextlib.closing(sqlite3.connect(database)) as opened, opened:
        for change in ("update spawners set server_id = null", "delete from servers"):
            with contextlib.suppress(sqlite3.Error):  # of another form
                opened.execute(change)


def prove_session(place: Path | None) -> None:
    """Start a server and a kernel as a pool account, and ask for its pages.

    What is shown was proven before it was, so that its modules are not imported once more.

    Args:
        place: of the environment; None: what is shown now.

    Raises:
        RefusedError: something does not answer.
    """
    with free_account() as account:
        shown = () if place is None else ("-p", f"BindReadOnlyPaths={place}:{HOME}")
        _prove(
            "a session does not start",
            SHOWN_PROOF if place is None else SESSION_PROOF,
            *(f"--uid={account}", "-p", "RuntimeDirectory=appliance-proof"),
            *(
                "-p",
                f"InaccessiblePaths=-{NURSERIES}",
            ),  # it would fork a kernel of the old one
            *("-E", "HOME=/run/appliance-proof", "-E", "IPYTHONDIR=/run/appliance-proof"),
            *("-E", "JUPYTER_RUNTIME_DIR=/run/appliance-proof/runtime", *shown),
        )


def _prove(failed: str, code: str, *options: str) -> None:
    done = attempt(
        *("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
        *("-p", "PrivateNetwork=yes", "-p", "PrivateTmp=yes", "-p", "NoNewPrivileges=yes"),
        *("-p", "ProtectSystem=strict", "-p", "KillMode=control-group"),
        *("-p", f"RuntimeMaxSec={PROVING_SECONDS}", *options),
        *(f"{HOME}/bin/python", "-I", "-c", code),
    )
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RefusedError(f"{failed}: " + " | ".join(told[-5:])[-700:])


# What an environment is.


def site_of(place: Path) -> Path:
    """Where its packages are.

    Raises:
        RefusedError: it is none.
    """
    for found in sorted(place.glob("lib/python3*/site-packages")):
        return found
    raise RefusedError(f"{place} is no Python environment")


def versions_in(site: Path) -> dict[str, str]:
    """Version by name of its packages, without what is ours."""
    found = dict(map(_name_of, site.glob("*.dist-info")))
    return {name: version for name, version in sorted(found.items()) if name not in OWN_NAMES}


def _name_of(info: Path) -> tuple[str, str]:
    name, _, version = info.name.removesuffix(".dist-info").partition("-")
    return re.sub(r"[-_.]+", "-", name).lower(), version


def bring_own(source: Path, target: Path) -> None:
    """Bring what playbooks have written into one environment to another."""
    for pattern in OWN:
        for old in target.glob(pattern):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for path in source.glob(pattern):
            at = target / path.relative_to(source)
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, at) if path.is_dir() else shutil.copy2(path, at)


def _within(place: Path, *words: str) -> None:
    """Run an environment's Python as if it were shown."""
    done = attempt(
        *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--fork", "--kill-child"),
        *("sh", "-c", f'mount --bind "$1" {HOME} && shift && exec {HOME}/bin/python "$@"', "sh"),
        *(str(place), *words),
    )
    if done.returncode:
        raise RefusedError(f"it cannot be compiled: {done.stderr.strip()[-400:]}")


JOURNAL = Journal(STATE, BACK)
RENEWAL = Renewal(JOURNAL, current, lead_back, STATE)
STEPS = (look, install, receive, unpack, prove, switch, check, confirm, back, recover, boot, undo,
         tidy)  # fmt: skip
HELD = tuple(step.__name__ for step in STEPS if step not in (look, install))


def main(*more: Callable[..., object], held: Iterable[str] = (), free: Iterable[str] = ()) -> None:
    """Run one step; others wait for it.

    Args:
        more: what the program does besides, for whoever takes these steps in the guest.
        held: of these, the steps of a run.
        free: of these, those that nobody waits for, nor they for anybody.
    """
    STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    ENVIRONMENTS.mkdir(mode=0o755, exist_ok=True)
    steps: tuple[Callable[..., object], ...] = (*STEPS, *more)
    with guarding(held=(*HELD, *held)):
        answer(
            {step.__name__: step for step in steps}, lock=STATE / "lock", unlocked=("look", *free)
        )
