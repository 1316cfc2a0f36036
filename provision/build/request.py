"""One build as it was asked for, with what the mirror answered."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.build.roles import roles_of
from provision.build.variables import playbook_variables
from provision.config import Config
from provision.jeos.archive import Release, SourceLine
from provision.jeos.base import BaseSpec
from provision.jeos.disk import FileSystem
from provision.jeos.proxy import Proxy

# What every playbook gets, besides the variables that begin with the name of a role in it.
COMMON_VARIABLES = ("building", "build_environment")
# Where a guest has, while it is built, this host's certificate authorities, and the Pythons that
# earlier builds installed of wheels: playbooks/library/wheels.py.
BUILD_CA_BUNDLE = "/run/host-ca-certificates.crt"
KEPT_WHEELS = "/run/kept-wheels"


@dataclass(frozen=True)
class Request:
    """One build, as it was asked for, with what the mirror answered.

    Args:
        config: the appliance.
        sources: the distribution's package sources.
        release: the state of these sources; its epoch is the clock of the whole build.
        admin_keys: public keys that let the admin in.
        host_ca: this host's certificate authorities, for downloads while building.
        proxy: of all downloads; it decides nothing, so no stage's inputs have it.
    """

    config: Config
    sources: tuple[SourceLine, ...]
    release: Release
    admin_keys: tuple[str, ...]
    host_ca: Path | None
    proxy: Proxy = field(default_factory=Proxy)

    @property
    def suite(self) -> str:
        """The distribution's suite, as its first source names it."""
        return self.sources[0].suite

    @property
    def base(self) -> BaseSpec:
        """What the base is made from."""
        config = self.config
        return BaseSpec(config.distribution, self.sources, self.release.epoch, config.architecture)

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The disks, root first, then as configured."""
        found = [
            FileSystem(
                *(name, disk.mount, disk.size, disk.reserve, disk.filesystem, self.config.name),
                self.config.architecture,
            )
            for name, disk in self.config.disks.items()
        ]
        return tuple(sorted(found, key=lambda system: not system.is_root))

    def variables(self) -> dict[str, Any]:
        """All variables of all our playbooks."""
        return playbook_variables(
            self.config,
            self.sources,
            epoch=self.release.epoch,
            admin_keys=self.admin_keys,
            ca_bundle=BUILD_CA_BUNDLE if self.host_ca else None,
        )

    def variables_of(self, name: str) -> dict[str, Any]:
        """The variables that one playbook's roles read: those that begin with a role's name."""
        known = (*COMMON_VARIABLES, "admin_user", "pool_group", "pool_accounts")
        prefixes = tuple(f"{role}_" for role in roles_of(name))
        return {
            key: value
            for key, value in self.variables().items()
            if key.startswith(prefixes)
            or key in (COMMON_VARIABLES if name == "packages" else known)
        }
