"""The root file systems of the grading sandbox and of the jail, made on this host for the guest."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provision.build import closure
from provision.build.request import Request
from provision.config.architectures import of_this_host
from provision.guest.jail import rootfs
from provision.guest.sandbox import image
from provision.process import run
from provision.progress import step


def roots(request: Request, cache: Path) -> dict[str, Any]:
    """Make what the configuration asks for, unless the cache has it.

    Args:
        request: the build.
        cache: directory for what is made, a few tens of MB each.

    Returns:
        The variables by which the roles grader and jail find them.

    Raises:
        ApplianceError: a package was not found.
    """
    config = request.config
    found: dict[str, Any] = {}
    sources = [source.line() for source in request.sources]
    if config.grader.enabled:
        found["grader_images"] = [
            str(_image(name, packages, request, sources, cache))
            for name, packages in config.grader.images.items()
        ]
    if config.jail.enabled:
        found["jail_source"] = str(_jail(request, sources, cache))
    return found


def _image(
    name: str, packages: tuple[str, ...], request: Request, sources: list[str], cache: Path
) -> Path:
    config = request.config
    recipe = image.Recipe(
        name,
        packages,
        suite=request.suite,
        mirror="\n".join(sources),
        epoch=request.release.epoch,
        proxy=request.proxy.environment(),
        arch="" if config.architecture == of_this_host() else config.architecture,
    )
    place = cache / f"sandbox-{_key(request, image.__name__, [name, *packages])}"
    if not (place / f"{name}.squashfs").exists():
        with step(f"sandbox image {name}"):
            image.build(recipe, place)
    return place / f"{name}.squashfs"


def _jail(request: Request, sources: list[str], cache: Path) -> Path:
    config = request.config
    parts = [*config.jail.pip, "packages", *config.jail.packages]
    target = cache / f"jail-{_key(request, rootfs.__name__, parts)}.tar"
    if target.exists():
        return target

    def make(scratch: Path) -> None:
        root, draft = scratch / "jail", scratch / "jail.tar"
        rootfs.build(
            root,
            suite=request.suite,
            mirror="\n".join(sources),
            pip=config.jail.pip,
            packages=config.jail.packages,
            proxy=request.proxy.environment(),
        )
        when = f"@{request.release.epoch}"
        run(
            [
                *("tar", "-C", str(root), "--sort=name", f"--mtime={when}", "--numeric-owner"),
                *("--owner=0", "--group=0", "-cf", str(draft), "."),
            ]
        )
        draft.replace(target)

    with step("jail"):
        _beside(target, make)
    return target


def _beside(target: Path, make: Callable[[Path], None]) -> None:
    scratch = Path(tempfile.mkdtemp(prefix=".jail-", dir=target.parent))
    try:
        make(scratch)
    finally:
        shutil.rmtree(scratch)


def _key(request: Request, maker: str, parts: list[str]) -> str:
    decides = {
        "parts": parts,
        "archive": request.release.packages,
        "epoch": request.release.epoch,
        "suite": request.suite,
        "code": closure.digests(closure.files_of(maker)),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
