"""A real VirtualBox without installing one: Debian's package, unpacked into the user's cache.

It runs with its own /usr in a private mount namespace, everything else being the host's, so that
a path means the same inside and outside. It needs Debian's tools on amd64, and either root or
user namespaces. It brings no kernel driver: it defines, clones, imports and exports machines, but
to start one needs VirtualBox installed.
"""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vbox.errors import NotInstalledError, VBoxError
from vbox.runner import VBoxManage

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITE = "sid"  # the only suite of Debian's that carries VirtualBox, in contrib
PACKAGES = ("virtualbox", "libc-bin")  # libc-bin: the C.UTF-8 locale

# What the host has, or what only the windows, the driver or the Python bindings need.
_PROVIDED = (
    "virtualbox-modules, systemd-sysusers, iproute2, procps, debconf (= 9), lsb-base,"
    " libgl1, libsdl2-2.0-0 (= 2.99), libx11-data (= 9), x11-common (= 9), openssl (= 9),"
    " python3 (= 3.14.1), python3.14, python3-packaging"
)

_WRAPPER = """\
#!/bin/sh
# VBoxManage of the VirtualBox unpacked beside this file, with its own /usr in a private mount
# namespace that goes on to see what is mounted later: its service outlives the command. Where the
# host keeps its mounts private it cannot; then a service that sees others than there are is waited
# for, which ends by itself seconds after its last command. The process is told to end when the one
# that started it is killed.
tree=$(dirname "$(readlink -f "$0")")/tree
places() { cut -d " " -f 5 "$1" 2>/dev/null | grep -v "^/usr\\|/tree/usr/local$" | sort -u; }
blind() {
    for process in /proc/[0-9]*; do
        read -r name 2>/dev/null < "$process/comm" && [ "$name" = VBoxSVC ] && [ -O "$process" ] &&
            tr "\\0" "\\n" 2>/dev/null < "$process/environ" |
            grep -qx "VBOX_IPC_SOCKETID=$VBOX_IPC_SOCKETID" &&
            seen=$(places "$process/mountinfo") && [ -n "$seen" ] && [ "$seen" != "$here" ] &&
            return
    done
    return 1
}
here=$(places /proc/self/mountinfo)
case $1 in
list | show* | get* | -*) ;; # changes nothing, and is asked again where an answer takes long
*) for _ in $(seq 150); do blind || break; sleep 0.2; done ;;
esac
map=--map-root-user
[ "$(id -u)" != 0 ] || map=
exec unshare --mount --propagation slave $map setpriv --pdeathsig INT sh -c '
  mount --bind /usr/local "$0/usr/local" &&
  mount --rbind "$0/usr" /usr &&
  exec /usr/lib/virtualbox/VBoxManage "$@"' "$tree" "$@"
"""

Progress = Callable[[float], None]


def cache_directory() -> Path:
    """Where it is kept: below ``$XDG_CACHE_HOME``, by default ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "portable-virtualbox"


def find_fetched(cache: Path | None = None) -> VBoxManage | None:
    """Return the VirtualBox that an earlier `fetch` left, or None."""
    program = (cache or cache_directory()) / "current" / "VBoxManage"
    if not program.exists():
        return None
    if program.read_text() != _WRAPPER:  # of an earlier version of ours
        with contextlib.suppress(OSError):
            fresh = program.with_name(f"VBoxManage.{os.getpid()}")
            fresh.write_text(_WRAPPER)
            fresh.chmod(0o755)
            fresh.replace(program)
    return VBoxManage(program)


def fetch(
    *,
    cache: Path | None = None,
    mirror: str | None = None,
    on_progress: Progress | None = None,
) -> VBoxManage:
    """Fetch VirtualBox from Debian, unless an earlier call did; about 60 MB and ten seconds.

    An interrupted download is taken up again by the next call. Two calls at once wait for
    each other.

    Args:
        cache: directory to keep it in; by default `cache_directory`.
        mirror: Debian mirror; by default the one of this host's own apt configuration.
        on_progress: called with 0 to 100.

    Raises:
        NotInstalledError: this host cannot; the hint says what it lacks.
    """
    cache = cache or cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with _locking(cache / "lock"):
        if found := find_fetched(cache):
            return found
        _require_host()
        archives = _download(cache / "apt", mirror or debian_mirror(), on_progress)
        made = _unpack(archives, cache)
        shutil.rmtree(cache / "apt")
        return made


def debian_mirror() -> str:
    """Return the mirror in this host's own apt configuration.

    Raises:
        NotInstalledError: there is none, as on another distribution.
    """
    wanted = {"stable", "testing", "unstable", "sid", "oldstable"}
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
        if release.get("ID") == "debian":
            wanted.add(release.get("VERSION_CODENAME", ""))
    for line in _output(
        "apt-get", "indextargets", "--no-release-info",
        "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages",
    ).splitlines():  # fmt: skip
        address, suite, component = line.split("|")
        if suite in wanted and component == "main":
            return address
    raise NotInstalledError(
        "this host's apt configuration names no Debian mirror to fetch VirtualBox from",
        hint="install VirtualBox (https://www.virtualbox.org/wiki/Downloads), or give a mirror",
    )


def _require_host() -> None:
    if platform.machine() != "x86_64":
        raise NotInstalledError(
            f"Debian's VirtualBox is for amd64 and this host is {platform.machine()}",
            hint="build on an amd64 host",
        )
    for tool, package in (
        ("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("unshare", "util-linux"),
    ):  # fmt: skip
        if not shutil.which(tool):
            raise NotInstalledError(
                f"VirtualBox is not installed, and {tool} to fetch it with is not either",
                hint=f"install VirtualBox, or the package {package}",
            )
    if not KEYRING.exists():
        raise NotInstalledError(
            f"{KEYRING} to check Debian's signature with is missing",
            hint="sudo apt-get install debian-archive-keyring",
        )
    root = () if os.geteuid() == 0 else ("--map-root-user",)
    try:
        _output("unshare", "--mount", *root, "true")
    except NotInstalledError as error:
        raise NotInstalledError(
            f"this host lets us make no mount namespace, which VirtualBox would run in: {error}",
            hint="run as root, or allow user namespaces:"
            " sudo sysctl -w kernel.unprivileged_userns_clone=1"
            " (Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0)",
        ) from error


def _download(directory: Path, mirror: str, on_progress: Progress | None) -> list[Path]:
    """Download the packages with an apt configuration of our own; apt checks the signatures."""
    for part in ("lists/partial", "archives/partial"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    (directory / "status").write_text(
        "Package: provided-by-the-host\nStatus: install ok installed\nArchitecture: all\n"
        f"Version: 1\nMaintainer: nobody <nobody@localhost>\nProvides: {_PROVIDED}\n"
        "Description: what VirtualBox finds on the host or does without\n\n"
    )
    (directory / "sources.list").write_text(
        f"deb [arch=amd64 signed-by={KEYRING}] {mirror} {SUITE} main contrib\n"
    )
    # A proxy and extra certificates are in the host's Acquire:: settings; its hooks are not ours.
    acquire = [
        line for line in _output("apt-config", "dump").splitlines()
        if re.match(r"Acquire::(https?|ftp|Retries|ForceIPv|Proxy)", line)
    ]  # fmt: skip
    configuration = directory / "apt.conf"
    configuration.unlink(missing_ok=True)
    configuration.touch(mode=0o600)  # a proxy may have a password
    configuration.write_text(
        "\n".join(
            [
                *acquire,
                'Acquire::Check-Valid-Until "false";',
                'Acquire::Languages "none";',
                'APT::Architecture "amd64";',
                'APT::Architectures { "amd64"; };',
                'APT::Install-Recommends "false";',
                'APT::Sandbox::User "root";',
                f'Dir::State "{directory}";',
                f'Dir::State::status "{directory}/status";',
                f'Dir::Cache "{directory}";',
                f'Dir::Etc::SourceList "{directory}/sources.list";',
                'Dir::Etc::SourceParts "/dev/null";',
                'Dir::Etc::Parts "/dev/null";',
                'Dir::Etc::Main "/dev/null";',
                'Dir::Etc::PreferencesParts "/dev/null";',
                'Dir::Etc::Preferences "/dev/null";',
            ]
        )
        + "\n"
    )
    for work, share in (
        (["update", "--error-on=any"], (0.0, 25.0)),
        (["install", "--yes", "--download-only", *PACKAGES], (25.0, 85.0)),
    ):
        _apt(configuration, work, share, on_progress)
    return sorted((directory / "archives").glob("*.deb"))


def _apt(
    configuration: Path,
    arguments: list[str],
    share: tuple[float, float],
    on_progress: Progress | None,
) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader) as status:
        try:
            process = subprocess.Popen(
                # Left behind by a killed fetch, it would hold its lock against the next one.
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("apt-get", "-qq", "-o", f"APT::Status-Fd={writer}", *arguments),
                ],
                env={**os.environ, "APT_CONFIG": str(configuration), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=(writer,),
            )
        finally:
            os.close(writer)
        with _ending(process):
            for line in status:
                if on_progress and (found := re.match(r"dlstatus:[^:]*:([\d.]+):", line)):
                    on_progress(share[0] + float(found[1]) * (share[1] - share[0]) / 100)
            complaint = process.communicate()[1].strip()
    if process.returncode:
        raise _explain(complaint)


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _explain(complaint: str) -> NotInstalledError:
    """Say what apt's complaint means for the user."""
    if re.search(r"NO_PUBKEY|is not signed|signature|EXPKEYSIG", complaint, re.IGNORECASE):
        hint = "sudo apt-get install --only-upgrade debian-archive-keyring; is the mirror genuine?"
    elif re.search(r"No space left", complaint):
        hint = "free 500 MB below the cache directory, or point XDG_CACHE_HOME elsewhere"
    else:
        hint = "connect to the network (or set Acquire::http::Proxy for apt), or install VirtualBox"
    lines = [line for line in complaint.splitlines() if line.startswith(("E:", "Err"))]
    return NotInstalledError(
        f"cannot fetch VirtualBox from Debian: {' '.join(lines) or complaint[-300:]}", hint=hint
    )


def _unpack(archives: list[Path], cache: Path) -> VBoxManage:
    """Unpack beside, then rename: what is called ``current`` is always whole."""
    for leftover in cache.glob("unpacking-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache))
    tree = stage / "tree"
    try:
        tree.mkdir()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda deb: _output("dpkg-deb", "-x", str(deb), str(tree)), archives))
        (tree / "usr/local").mkdir(exist_ok=True)
        wrapper = stage / "VBoxManage"
        wrapper.write_text(_WRAPPER)
        wrapper.chmod(0o755)
        stage.chmod(0o755)
        VBoxManage(wrapper).version()
        stage.rename(cache / "current")
    except VBoxError as error:
        raise NotInstalledError(
            f"the VirtualBox fetched from Debian does not run here: {error}",
            hint="install VirtualBox, and tell us",
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return VBoxManage(cache / "current" / "VBoxManage")


@contextlib.contextmanager
def _locking(path: Path) -> Iterator[None]:
    import fcntl  # noqa: PLC0415 (Linux, as all that is fetched; seats import this on Windows too)

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError as error:
        raise NotInstalledError(f"{argv[0]} is not installed", hint="install VirtualBox") from error
    except subprocess.CalledProcessError as error:
        raise NotInstalledError(f"{argv[0]} failed: {error.stderr.strip()}") from error
    return done.stdout
