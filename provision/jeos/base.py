"""The base root file system: a minimal distribution with a kernel, made by mmdebstrap."""

import io
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provision import resources, temporary
from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.config.architectures import Name as ArchName
from provision.config.distributions import DISTRIBUTIONS, Name
from provision.errors import ApplianceError, HostNotReadyError
from provision.jeos.archive import SourceLine
from provision.jeos.native import BIND
from provision.jeos.proxy import Proxy
from provision.process import CommandFailedError, require, run

SKELETON = Path(__file__).with_name("skeleton")
INITRAMFS = Path(__file__).with_name("initramfs.sh")
# What a guest needs to boot and to be provisioned over SSH, and not one package more.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "libpam-systemd",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "systemd-sysv",
    "udev",
    "zstd",
)
TMPFS = Path("/dev/shm")  # noqa: S108 (a kernel file system, not a file name in /tmp)
TMPFS_BYTES = 3 << 30
# mmdebstrap unpacks the essential packages once before dpkg and its rules are there. A link from
# one package's directory to another's leads to the copyright file that they share.
_WITHOUT_DOCUMENTATION = (
    'cd "$1/usr/share" && for place in doc info lintian; do test ! -d $place ||'
    " find $place -type f ! -name copyright -delete; done"
)


@dataclass(frozen=True)
class BaseSpec:
    """All that decides what is in a base.

    Args:
        distribution: debian or ubuntu.
        sources: where packages come from, the suite itself first.
        epoch: the time that stands in every new file, in seconds since 1970.
        arch: of its packages.
    """

    distribution: Name
    sources: tuple[SourceLine, ...]
    epoch: int
    arch: ArchName = "amd64"

    @property
    def packages(self) -> tuple[str, ...]:
        """Every package asked for, the kernel included."""
        kernel = DISTRIBUTIONS[self.distribution].kernel_of(self.arch)
        return tuple(sorted((kernel, *PACKAGES, *ARCHITECTURES[self.arch].packages)))


def dpkg_rules() -> Path:
    """The file that says what of a package is left out: of the base's, and of later ones too."""
    return resources.templates() / "guest/packages/dpkg.cfg"


def build_base(
    spec: BaseSpec,
    target: Path,
    *,
    downloads: Path,
    native: Path | None = None,
    proxy: Proxy | None = None,
) -> None:
    """Make the base's directory; the same spec and archive state give the same files.

    Args:
        spec: what is in it.
        target: the directory to make.
        downloads: directory that keeps .deb files between builds.
        native: see `native.make_native`; None: every program is that of ``spec.arch``.
        proxy: of the downloads; None: none.

    Raises:
        HostNotReadyError: mmdebstrap or the keyring is missing, the archive's signature is
            bad, or there is no room.
        CommandFailedError: mmdebstrap failed otherwise.
    """
    mmdebstrap = require("mmdebstrap", "mmdebstrap")
    for source in spec.sources:
        if not source.keyring.exists():
            raise HostNotReadyError(
                f"the keyring {source.keyring} is missing",
                hint=f"sudo apt-get install {DISTRIBUTIONS[spec.distribution].keyring_package}",
            )
    downloads.mkdir(parents=True, exist_ok=True)
    skeleton = target.with_name(target.name + ".skeleton.tar")
    skeleton.write_bytes(skeleton_tar(spec.epoch))
    archives, outside = "/var/cache/apt/archives", _quote(downloads)
    argv = [
        mmdebstrap,
        "--mode=root",  # of the host, or of an ordinary user's namespace
        "--variant=minbase",
        "--format=directory",  # as a tar it goes through Perl
        *([] if spec.arch == of_this_host() else [f"--architectures={spec.arch}"]),
        f"--include={','.join(spec.packages)}",
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        *("--skip=download/empty", "--skip=essential/unlink"),
        # As --dpkgopt the rules would send each essential package through a filter in Python.
        f'--setup-hook=tar -C "$1" -xf {_quote(skeleton)}',  # the hook tar-in starts a Perl
        # Plain copies: mmdebstrap's own way sends all packages, twice, by a pipe.
        f'--setup-hook=mkdir -p "$1{archives}"',
        f'--setup-hook=find {outside} -maxdepth 1 -name "*.deb" -exec cp -t "$1{archives}" {{}} +',
        *_natives(native, "essential", "bind"),
        *_natives(native, "customize", "release"),  # none of them goes into an initramfs
        f'--customize-hook=sh {_quote(INITRAMFS)} "$1"',
        f'--customize-hook=cd {outside}; for new in "$1{archives}"/*.deb; do kept=${{new##*/}};'
        ' test -e "$kept" || { cp "$new" "$kept.part" && mv "$kept.part" "$kept"; }; done',
        f"--customize-hook={_WITHOUT_DOCUMENTATION}",
        '--customize-hook=rm -rf "$1"/etc/ssh/ssh_host_*_key* "$1"/etc/resolv.conf'
        ' "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/dbus/machine-id',
        '--customize-hook=: > "$1/etc/machine-id"',
        # Now and then of another kind: whichever is first writes it, an import or the compiler.
        '--customize-hook=rm -rf "$1"/usr/share/python3/debpython/__pycache__',
        spec.sources[0].suite,
    ]
    target.mkdir()
    lines = "".join(source.line() + "\n" for source in spec.sources)
    complaints: list[str] = []
    scratch = temporary.make(_scratch(target.parent))
    made = scratch / "root"

    def keep(line: str) -> None:
        if line.startswith(("E: ", "Err:", "cp: ", "tar: ", "dpkg: error")):
            complaints.append(line)

    try:
        run(
            [*argv, str(made), "-"],
            stdin=lines.encode(),
            env={
                "SOURCE_DATE_EPOCH": str(spec.epoch),
                "TMPDIR": str(scratch),
                "INITRD": "No",
                **(proxy.environment() if proxy else {}),  # an --aptopt would stay in the base
            },
            on_line=keep,
        )
        # The kernel makes the devices at each boot; an ordinary user may make none.
        run(["find", str(made / "dev"), "-xdev", "-mindepth", "1", "-delete"])
        run(["cp", "-a", f"{made}/.", str(target)])
    except CommandFailedError as error:
        told = "\n".join(complaints) or error.tail
        raise explain(told, spec.sources) or CommandFailedError(
            error.argv, error.returncode, told
        ) from error
    finally:
        skeleton.unlink(missing_ok=True)
        temporary.remove(scratch)


def _natives(native: Path | None, when: str, what: str) -> list[str]:
    if native is None:
        return []
    return [f'--{when}-hook=sh {_quote(BIND)} {what} "$1" {_quote(native)}']


def explain(told: str, sources: Sequence[SourceLine]) -> ApplianceError | None:
    """Say what mends a failed mmdebstrap, where the lines that it complained in tell."""
    where = ", ".join(f"{source.uri} {source.suite}" for source in sources)
    if "No space left on device" in told:
        return HostNotReadyError(
            "no space left while making the base",
            hint="free some room, or set TMPDIR and XDG_CACHE_HOME to a larger disk",
        )
    if any(sign in told for sign in ("NO_PUBKEY", "is not signed", "BADSIG", "EXPKEYSIG")):
        return HostNotReadyError(
            f"the archive's signature does not verify: {where}",
            hint="install the distribution's newest archive keyring package, or mend `mirror:`",
        )
    if any(sign in told for sign in ("Hash Sum mismatch", "File has unexpected size")):
        return HostNotReadyError(
            f"a download does not match the archive's checksums: {where}",
            hint="the mirror is being updated or a proxy is broken: try again later",
        )
    if any(
        s in told for s in ("Temporary failure resolving", "Could not connect", "Unable to con")
    ):
        return HostNotReadyError(
            f"the mirror does not answer: {where}",
            hint="check the network, `mirror:` and `proxy:`",
        )
    if "newuidmap" in told or "user namespace" in told or "unprivileged_userns" in told:
        return HostNotReadyError(
            "this host lets an ordinary user make no user namespaces",
            hint="sudo apt-get install uidmap, or run as root; `appliance doctor` tells more",
        )
    return None


def skeleton_tar(epoch: int) -> bytes:
    """Our few files of the base as a tar owned by root, whoever owns the checkout."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        ours = {path: str(path.relative_to(SKELETON)) for path in sorted(SKELETON.rglob("*"))}
        for path, name in {**ours, dpkg_rules(): "etc/dpkg/dpkg.cfg.d/appliance"}.items():
            if path.is_file():
                info = tarfile.TarInfo(name)
                info.size = path.stat().st_size
                info.mtime = epoch
                info.mode = 0o755 if "hooks" in path.parts else 0o644
                with path.open("rb") as file:
                    tar.addfile(info, file)
    return buffer.getvalue()


def _scratch(fallback: Path) -> Path:
    """A directory for mmdebstrap's work: memory where there is room, which halves its time."""
    if "TMPDIR" in os.environ:
        return Path(os.environ["TMPDIR"])
    try:
        roomy = shutil.disk_usage(TMPFS).free > TMPFS_BYTES and os.access(TMPFS, os.W_OK)
    except OSError:
        roomy = False
    return TMPFS if roomy else fallback


def _quote(path: Path) -> str:
    return "'" + str(path.resolve()).replace("'", "'\\''") + "'"
