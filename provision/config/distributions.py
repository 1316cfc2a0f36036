"""What we know of the distributions that a guest may run. A further one is an entry here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from provision.config.architectures import ARCHITECTURES
from provision.config.architectures import Name as ArchName

Name = Literal["debian", "ubuntu"]


@dataclass(frozen=True)
class Distribution:
    """What tells one distribution from another.

    Args:
        title: how it is written, in VirtualBox's types too.
        suites: what may be built, the default first.
        too_old: sessions need X-mount.idmap of util-linux 2.39 and PAMServiceName of OpenSSH 9.8.
        rolling: suites without updates or security fixes beside them.
        pythons: the version of Python of those suites that come with one for good.
        kernel: the package that brings the newest, of the architecture ``{arch}``.
        components: of its archive.
        mirror, security: what mmdebstrap and the installers use when nobody names a mirror.
        ports: the mirror, of security fixes too, of other architectures than amd64, where the
            distribution keeps them apart.
        keyring: the file with its archive's keys, on a host that has ``keyring_package``.
        keyring_note: where else a host finds that package.
        urgent, others: unattended-upgrades' patterns of its security fixes, and all else.
    """

    title: str
    suites: tuple[str, ...]
    too_old: tuple[str, ...]
    rolling: tuple[str, ...]
    pythons: Mapping[str, str]
    kernel: str
    components: tuple[str, ...]
    mirror: str
    security: str
    keyring: Path
    keyring_package: str
    urgent: tuple[str, ...]
    others: tuple[str, ...]
    keyring_note: str = ""
    ports: str = ""

    def kernel_of(self, arch: ArchName) -> str:
        """The package that brings the newest kernel."""
        return self.kernel.format(arch=arch)

    def ostype(self, arch: ArchName) -> str:
        """VirtualBox's word for it."""
        return self.title + ARCHITECTURES[arch].ostype

    def mirrors(self, arch: ArchName) -> tuple[str, str]:
        """The mirror of packages, and of security fixes, when nobody names one."""
        if arch != "amd64" and self.ports:
            return self.ports, self.ports
        return self.mirror, self.security


_CODENAME = "${distro_codename}"
DISTRIBUTIONS: Mapping[Name, Distribution] = {
    "debian": Distribution(
        title="Debian",
        suites=("trixie", "forky", "duke", "stable", "testing", "sid", "unstable"),
        too_old=("buster", "bullseye", "bookworm", "oldstable"),
        rolling=("sid", "unstable", "experimental"),
        pythons={"trixie": "3.13"},
        kernel="linux-image-{arch}",
        components=("main",),
        mirror="http://deb.debian.org/debian",
        security="http://deb.debian.org/debian-security",
        keyring=Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
        keyring_package="debian-archive-keyring",
        urgent=(f"origin=Debian,codename={_CODENAME}-security,label=Debian-Security",),
        others=tuple(f"origin=Debian,codename={_CODENAME}{kind}" for kind in ("", "-updates")),
    ),
    "ubuntu": Distribution(
        title="Ubuntu",
        suites=("resolute", "stonking", "questing", "plucky"),
        too_old=("bionic", "focal", "jammy", "mantic", "noble", "oracular"),
        rolling=(),
        pythons={"resolute": "3.14"},
        kernel="linux-image-generic",
        components=("main", "universe"),
        mirror="http://archive.ubuntu.com/ubuntu",
        security="http://security.ubuntu.com/ubuntu",
        keyring=Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
        keyring_package="ubuntu-keyring",
        urgent=(f"origin=Ubuntu,archive={_CODENAME}-security",),
        others=tuple(f"origin=Ubuntu,archive={_CODENAME}{kind}" for kind in ("", "-updates")),
        keyring_note=" (Debian 12 has it in bookworm-backports)",
        ports="http://ports.ubuntu.com/ubuntu-ports",
    ),
}
