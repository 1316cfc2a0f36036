"""One build from the request to the OVA: plan, run what is not cached, remember."""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from provision.build import places
from provision.build.cache import Cache
from provision.build.export import export
from provision.build.inputs import Request, stage_inputs
from provision.build.plan import Step, plan
from provision.build.stages import LAYER, WORK, Workshop
from provision.config import Config
from provision.errors import ApplianceError, HostNotReadyError
from provision.jeos import archive
from provision.jeos.layers import private_mounts
from provision.ova.model import OvaResult
from provision.progress import step

HOST_CA = Path("/etc/ssl/certs/ca-certificates.crt")
MONTH_SECONDS = 30 * 24 * 3600


@dataclass(frozen=True)
class Built:
    """A finished build.

    Args:
        ova: the appliance's file.
        disks: the raw image of each disk, root first.
        log: the build's log file.
    """

    ova: OvaResult
    disks: tuple[Path, ...]
    log: Path


def request(config: Config, *, offline: bool = False) -> Request:
    """Complete a configuration to a request: ask the mirror for its state, find the keys.

    Args:
        config: the appliance.
        offline: take the mirror's state from the last build instead.

    Raises:
        HostNotReadyError: the mirror does not answer, or nothing is known of it offline.
        ConfigError: the mirror has no such suite.
    """
    sources = archive.sources(config.distribution, config.suite, config.mirror)
    known = places.state(config.name) / "release.json"
    key = archive.identity(sources)
    if offline:
        remembered = json.loads(known.read_text()) if known.exists() else {}
        if key not in remembered:
            raise HostNotReadyError(
                "nothing is known of the mirror, so nothing can be built offline",
                hint="build once without --offline",
            )
        release = archive.Release(**remembered[key])
    else:
        release = archive.read_release(sources, proxy=config.proxy)
        _remember(known, {key: asdict(release)})
    return Request(
        config=config,
        sources=sources,
        release=release,
        admin_keys=places.admin_public_keys(config),
        host_ca=HOST_CA if HOST_CA.exists() else None,
    )


def steps(wanted: Request, output: Path, *, from_stage: str | None = None) -> tuple[Step, ...]:
    """The plan of a build, against this host's cache."""
    cache = Cache(places.cache() / "stages")

    def has(key: str) -> bool:
        return cache.has(key) and _still_there(cache.record(key), output)

    last = _recall(places.state(wanted.config.name) / "last.json")
    return plan(stage_inputs(wanted), has=has, last=last, from_stage=from_stage)


def build(
    wanted: Request,
    output: Path,
    *,
    from_stage: str | None = None,
    offline: bool = False,
    keep_on_failure: bool = False,
) -> Built:
    """Build what is not cached yet and leave the OVA at ``output``.

    Args:
        wanted: what to build.
        output: the OVA's path.
        from_stage: run this stage and all after it even if they are cached.
        offline: fail rather than download.
        keep_on_failure: keep the directory of a stage that failed.

    Raises:
        ApplianceError: a stage failed; all finished stages stay for the next build.
    """
    planned = steps(wanted, output, from_stage=from_stage)
    missing = [s.name for s in planned if not s.cached and s.name in ("base", "packages")]
    if offline and missing:
        raise HostNotReadyError(
            f"offline, but {' and '.join(missing)} must be downloaded",
            hint="`appliance plan` says why; build without --offline",
        )
    cache = Cache(places.cache() / "stages")
    shop = Workshop(wanted, places.cache() / "packages", places.new_log(wanted.config.name))
    shop.downloads.mkdir(parents=True, exist_ok=True)
    last = places.state(wanted.config.name) / "last.json"
    layers: list[Path] = []
    disks: tuple[Path, ...] = ()
    with _logging_to(shop.log), step(f"build {wanted.config.name} {wanted.config.version}"):
        if not all(s.cached for s in planned):
            private_mounts()
        for planned_step in planned:
            entry = cache.entry(planned_step.key)
            if planned_step.name == "export":
                break
            _run_stage(cache, shop, planned_step, layers, keep=keep_on_failure)
            _remember(last, {planned_step.name: dict(planned_step.inputs)})
            if planned_step.name == "disks":
                disks = tuple(entry / f"{system.name}.raw" for system in wanted.file_systems)
            else:
                layers.append(entry / LAYER)
        result = _run_export(cache, wanted, planned[-1], disks, output, keep=keep_on_failure)
        _remember(last, {"export": dict(planned[-1].inputs)})
        cache.prune({s.key for s in planned}, seconds=MONTH_SECONDS)
    return Built(result, disks, shop.log)


def _run_stage(
    cache: Cache, shop: Workshop, planned: Step, layers: list[Path], *, keep: bool
) -> None:
    with cache.claimed(planned.key) as unbuilt:
        if planned.cached or (not unbuilt and not planned.reason.startswith("asked")):
            cache.touch(planned.key)
            return
        record = {"stage": planned.name, "inputs": planned.inputs}
        with (
            step(planned.name),
            _explained(planned.name, cache.root, shop.log),
            cache.building(planned.key, record, keep=keep) as part,
        ):
            WORK[planned.name](shop, tuple(layers), part)


def _run_export(
    cache: Cache,
    wanted: Request,
    planned: Step,
    disks: tuple[Path, ...],
    output: Path,
    *,
    keep: bool,
) -> OvaResult:
    with cache.claimed(planned.key):
        if planned.cached:
            cache.touch(planned.key)
            stored = cache.record(planned.key)["ova"]
            return OvaResult(
                path=Path(stored["path"]),
                size=stored["size"],
                sha256=stored["sha256"],
                disks=stored["disks"],
            )
        with step("export"), _explained("export", output.parent, None):
            result = export(wanted, disks, output)
            status = output.stat()
            record = {
                "stage": "export",
                "inputs": planned.inputs,
                "ova": {
                    "path": str(output.resolve()),
                    "size": result.size,
                    "sha256": result.sha256,
                    "disks": result.disks,
                    "mtime_ns": status.st_mtime_ns,
                },
            }
            with cache.building(planned.key, record, keep=keep):
                pass
    return result


def _still_there(record: Mapping[str, Any], output: Path) -> bool:
    """Whether an exported file is at the place asked for and is the one that we wrote."""
    if "ova" not in record:
        return True
    ova = record["ova"]
    try:
        status = output.stat()
    except FileNotFoundError:
        return False
    return bool(
        ova["path"] == str(output.resolve())
        and (ova["size"], ova["mtime_ns"]) == (status.st_size, status.st_mtime_ns)
    )


@contextlib.contextmanager
def _explained(stage: str, room: Path, log: Path | None) -> Iterator[None]:
    """Say of a failure which stage it was, and whether it was only a full disk."""
    try:
        yield
    except (OSError, ApplianceError) as error:
        if "No space left on device" in str(error):
            raise HostNotReadyError(
                f"no space left on the file system of {room} in stage {stage}",
                hint="free some room, or set XDG_CACHE_HOME to a larger disk; then build again:"
                " finished stages are kept",
            ) from error
        if isinstance(error, OSError):
            raise ApplianceError(
                f"stage {stage}: {error}", hint=f"the log is {log}" if log else None
            ) from error
        raise


@contextlib.contextmanager
def _logging_to(log: Path) -> Iterator[None]:
    """Write everything that our modules log into the build's own file."""
    logger = logging.getLogger("provision")
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()


def _recall(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found


def _remember(path: Path, values: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps({**_recall(path), **values}, indent=1, sort_keys=True))
    part.replace(path)
