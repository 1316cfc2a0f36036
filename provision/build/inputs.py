"""What decides the result of each stage, as hashable data.

What comes from the configuration and the mirror is named here; which of our own files decide is
found: what the stage's module imports (`closure`), and what its roles read (`roles`).
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from provision.build import closure, roles
from provision.build.plan import StageInputs
from provision.build.request import Request
from provision.config import Config
from provision.config.distributions import DISTRIBUTIONS
from provision.jeos.disk import FileSystem


def stage_inputs(request: Request) -> tuple[StageInputs, ...]:
    """The stages of a build in order, each with all that decides its result."""
    config = request.config
    systems = [_plain(system) for system in request.file_systems]
    hardware = {
        "ostype": DISTRIBUTIONS[config.distribution].ostype(config.architecture),
        "name": config.name,
        "cpus": config.cpus,
        "memory": config.memory,
        "network": config.network.model_dump(mode="json"),
    }
    return (
        StageInputs(
            "base",
            {
                "archive": request.release.packages,
                "epoch": request.release.epoch,
                "sources": [source.line("-") for source in request.sources],
                "packages": list(request.base.packages),
                **_image(config),
                **_code("image" if config.image else "base"),
            },
        ),
        StageInputs("packages", {**_playbook(request, "packages"), **_code("packages")}),
        StageInputs(
            "configure",
            {
                **_playbook(request, "configure"),
                **_boxes(config),
                "hooks": files((*config.hooks.playbooks, *config.hooks.roles)),
                **_code("configure"),
            },
        ),
        StageInputs("seal", {"file_systems": systems, **_code("seal")}),
        StageInputs(
            "disks",
            {"file_systems": systems, "version": config.version, **_code("disks")},
        ),
        StageInputs("vm", {**hardware, **_code("vm")}),
        StageInputs(
            "export",
            {
                **hardware,
                "version": config.version,
                "admin": config.admin.user,
                **_code("export"),
            },
        ),
    )


def files(paths: Iterable[Path]) -> dict[str, str]:
    """The digest of every file of the user's that is named, or found below a directory named."""
    found: dict[str, str] = {}
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            if file.is_file() and file.suffix != ".pyc":
                name = str(file.relative_to(path.parent)) if path.is_dir() else file.name
                found[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return found


def _code(stage: str) -> Mapping[str, Any]:
    """The modules that do a stage's work."""
    return {"code": closure.digests(closure.files_of(f"provision.build.stages.{stage}"))}


def _playbook(request: Request, name: str) -> Mapping[str, Any]:
    config, variables = request.config, request.variables()
    locks = (each for each in (config.sage.lock, config.kernels.python.lock) if each)
    named = (*config.ca_certificates, *(source.key for source in config.apt_sources), *locks)
    # Where the sources were loaded from is part of the base already, and of the image.
    return {
        "read": closure.digests(roles.files_of(name, variables)),
        "variables": request.variables_of(name),
        "files": files(Path(path) for path in named),
    }


def _image(config: Config) -> Mapping[str, Any]:
    """What tells one cloud image from another: its checksum, or that of the file."""
    if config.image is None:
        return {}
    digest = config.image.sha256
    if digest is None:
        with Path(config.image.source).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"image": digest}


def _boxes(config: Config) -> Mapping[str, Any]:
    """What the grading sandbox's root file systems and the jail are made of."""
    found: dict[str, Any] = {}
    if config.grader.enabled:
        found["images"] = {name: list(packages) for name, packages in config.grader.images.items()}
    if config.jail.enabled:
        found["jail"] = [list(config.jail.pip), list(config.jail.packages)]
    return found


def _plain(system: FileSystem) -> dict[str, Any]:
    return {name: getattr(system, name) for name in FileSystem.__dataclass_fields__}
