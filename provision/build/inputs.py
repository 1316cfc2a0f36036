"""What decides the result of each stage, as hashable data."""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from provision import guest, jeos, ova, resources
from provision.build.plan import StageInputs
from provision.build.variables import playbook_variables
from provision.config import Config
from provision.jeos.archive import Release, Source
from provision.jeos.base import BaseSpec, dpkg_rules
from provision.jeos.disk import FileSystem

# What every playbook gets, besides the variables that begin with the name of a role in it.
COMMON_VARIABLES = ("building", "build_environment")
BUILD_CA_BUNDLE = "/run/host-ca-certificates.crt"


@dataclass(frozen=True)
class Request:
    """One build, as it was asked for, with what the mirror answered.

    Args:
        config: the appliance.
        sources: the distribution's package sources.
        release: the state of these sources; its epoch is the clock of the whole build.
        admin_keys: public keys that let the admin in.
        host_ca: this host's certificate authorities, for downloads while building.
    """

    config: Config
    sources: tuple[Source, ...]
    release: Release
    admin_keys: tuple[str, ...]
    host_ca: Path | None

    @property
    def suite(self) -> str:
        """The distribution's suite, as its first source names it."""
        return self.sources[0].suite

    @property
    def base(self) -> BaseSpec:
        """What the base is made from."""
        return BaseSpec(self.config.distribution, self.sources, self.release.epoch)

    @property
    def file_systems(self) -> tuple[FileSystem, ...]:
        """The disks, root first, then as configured."""
        found = [
            FileSystem(name, disk.mount, disk.size, disk.reserve, disk.filesystem, self.config.name)
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


def stage_inputs(request: Request) -> tuple[StageInputs, ...]:
    """The stages of a build in order, each with all that decides its result."""
    config, systems = request.config, request.file_systems
    return (
        StageInputs(
            "base",
            {
                "archive": request.release.packages,
                "epoch": request.release.epoch,
                "sources": [source.line("-") for source in request.sources],
                "packages": list(request.base.packages),
                "code": code(jeos, "base.py", "initramfs.sh", "skeleton"),
                "left_out": files((dpkg_rules(),)),
                **_image(config),
            },
        ),
        StageInputs("packages", _playbook_inputs(request, "packages")),
        StageInputs(
            "configure",
            {
                **_playbook_inputs(request, "configure"),
                **_package(config),
                **_images(config),
                "hooks": files((*config.hooks.playbooks, *config.hooks.roles)),
                "modules": files(
                    resources.playbooks() / kind for kind in ("action_plugins", "library")
                ),
            },
        ),
        StageInputs(
            "seal",
            {
                "file_systems": [_plain(system) for system in systems],
                "code": code(jeos, "seal.py", "disk.py", "layers.py"),
            },
        ),
        StageInputs(
            "disks",
            {
                "file_systems": [_plain(system) for system in systems],
                "code": {
                    **code(jeos, "disk.py", "layers.py", "superblock.py"),
                    **code(ova, "sbom.py"),
                },
                "version": config.version,
            },
        ),
        StageInputs(
            "vm",
            {
                "name": config.name,
                "cpus": config.cpus,
                "memory": config.memory,
                "network": config.network.model_dump(mode="json"),
            },
        ),
        StageInputs(
            "export",
            {
                "name": config.name,
                "version": config.version,
                "cpus": config.cpus,
                "memory": config.memory,
                "network": config.network.model_dump(mode="json"),
                "admin": config.admin.user,
                "code": code(ova, "model.py", "vmdk.py", "writer.py"),
                "templates": files([resources.templates() / "host" / "appliance.ovf.j2"]),
            },
        ),
    )


def roles_of(name: str) -> tuple[str, ...]:
    """The roles of one of our playbooks, in order."""
    return tuple(role["role"] for play in _plays(name) for role in play["roles"])


def parts_of(name: str) -> tuple[tuple[str, str], ...]:
    """The roles of which a playbook takes only one file of tasks, with that file's name."""
    return tuple(
        (
            task["ansible.builtin.import_role"]["name"],
            task["ansible.builtin.import_role"]["tasks_from"],
        )
        for play in _plays(name)
        for task in play.get("tasks", ())
    )


def files(paths: Iterable[Path]) -> dict[str, str]:
    """The digest of every file named, or found below a directory named."""
    found: dict[str, str] = {}
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            if file.is_file() and file.suffix != ".pyc":
                name = str(file.relative_to(path.parent)) if path.is_dir() else file.name
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return found


def code(package: Any, *names: str) -> dict[str, str]:
    """The digest of modules of ours whose text decides a stage's result."""
    directory = Path(package.__file__).parent
    return files(directory / name for name in names)


def _playbook_inputs(request: Request, name: str) -> Mapping[str, Any]:
    books, templates = resources.playbooks(), resources.templates() / "guest"
    roles = roles_of(name)
    parts = [
        path
        for role, tasks in parts_of(name)
        for path in (
            books / "roles" / role / "tasks" / f"{tasks}.yml",
            books / "roles" / role / "files",
        )
    ]
    config = request.config
    lock = (config.sage.lock,) if config.sage.lock else ()
    named = (*config.ca_certificates, *(source.key for source in config.apt_sources), *lock)
    # Where the sources were loaded from is part of the base already, and of the image.
    return {
        "playbook": files([books / f"{name}.yml"]),
        "roles": files([*(books / "roles" / role for role in roles), *parts]),
        "templates": files(templates / role for role in roles if (templates / role).is_dir()),
        "variables": request.variables_of(name),
        "files": files(Path(path) for path in named),
        "code": {**files([Path(__file__).with_name("guest.py")]), **code(jeos, "layers.py")},
    }


@functools.cache
def _plays(name: str) -> list[dict[str, Any]]:
    plays: list[dict[str, Any]] = YAML(typ="safe").load(resources.playbooks() / f"{name}.yml")
    return plays


def _image(config: Config) -> Mapping[str, Any]:
    """What tells one cloud image from another: its checksum, or that of the file."""
    if config.image is None:
        return {}
    digest = config.image.sha256
    if digest is None:
        with Path(config.image.source).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"image": digest, "image_code": code(jeos, "cloud.py")}


def _package(config: Config) -> Mapping[str, Any]:
    """Our own package as the roles bring it: what runs untrusted programs only where wanted."""
    ours = Path(guest.__file__).parent
    boxes = ("grader", "jail", "sandbox")
    wanted = config.grader.enabled or config.jail.enabled
    left_out = ("__pycache__", *(() if wanted else boxes))
    return {
        "package": files(sorted(ours.parent.glob("*.py" if wanted else "__init__.py"))),
        "guest": files(sorted(path for path in ours.iterdir() if path.name not in left_out)),
    }


def _images(config: Config) -> Mapping[str, Any]:
    """What the grading sandbox's root file systems and the jail are made of."""
    found: dict[str, Any] = {}
    if config.grader.enabled:
        found["images"] = {name: list(packages) for name, packages in config.grader.images.items()}
    if config.jail.enabled:
        found["jail"] = list(config.jail.pip)
    return found


def _plain(system: FileSystem) -> dict[str, Any]:
    return {name: getattr(system, name) for name in FileSystem.__dataclass_fields__}
