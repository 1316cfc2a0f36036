"""One build from the request to the OVA: plan, run what is not cached, remember."""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from provision import locks, temporary
from provision.build import places
from provision.build.artefacts import DISKS, LAYER, SBOM, Product, whole
from provision.build.cache import Cache, forget
from provision.build.inputs import stage_inputs
from provision.build.plan import STAGES, Step, plan
from provision.build.request import Request
from provision.build.workshop import Runtime, Workshop
from provision.config import Config
from provision.errors import ApplianceError, HostNotReadyError
from provision.jeos import archive, proxy
from provision.jeos.base import TMPFS
from provision.jeos.layers import private_mounts
from provision.progress import step

HOST_CA = Path("/etc/ssl/certs/ca-certificates.crt")
FULL_BYTES = 64 << 20  # no stage of ours succeeds with less
MONTH_SECONDS = 30 * 24 * 3600
LAYERED = STAGES[: STAGES.index("vm")]  # the stages whose results the cache keeps


@dataclass(frozen=True)
class Built:
    """A finished build.

    Args:
        ova: the appliance's file.
        size: its bytes.
        sha256: its digest.
        disks: the raw image of each disk, root first.
        log: the build's log file.
    """

    ova: Path
    size: int
    sha256: str
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
    sources = archive.sources(
        config.distribution, config.suite, config.mirror, arch=config.architecture
    )
    known = places.state(config.name) / "release.json"
    key = archive.identity(sources)
    way = proxy.Proxy() if offline else proxy.of(config.proxy)
    if offline:
        remembered = json.loads(known.read_text()) if known.exists() else {}
        if key not in remembered:
            raise HostNotReadyError(
                "nothing is known of the mirror, so nothing can be built offline",
                hint="build once without --offline",
            )
        release = archive.Release(**remembered[key])
    else:
        with step("ask the mirror"):
            release = archive.read_release(sources, arch=config.architecture, proxy=way)
        _remember(known, {key: asdict(release)})
    return Request(
        config=config,
        sources=sources,
        release=release,
        admin_keys=places.admin_public_keys(config),
        host_ca=HOST_CA if HOST_CA.exists() else None,
        proxy=way,
    )


def steps(
    wanted: Request, output: Path | None, *, from_stage: str | None = None
) -> tuple[Step, ...]:
    """The plan of a build, against this host's cache; without an output it wants no OVA."""
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
    with_vm: bool | None = None,
    runtime: Runtime = "nspawn",
) -> Built:
    """Build what is not cached yet and leave the OVA at ``output``.

    Args:
        wanted: what to build.
        output: the OVA's path.
        from_stage: run this stage and all after it even if they are cached.
        offline: fail rather than download.
        keep_on_failure: keep the directory of a stage that failed.
        with_vm: define the VM in this host's VirtualBox too; None: if one is installed, since
            one that is fetched could not start it.
        runtime: what boots the guest for the playbooks; it does not change the result.

    Raises:
        ApplianceError: a stage failed; all finished stages stay for the next build.
    """
    from provision.ova.ahead import Ahead  # loads what compresses

    ahead = Ahead()
    planned = steps(wanted, output, from_stage=from_stage)
    by_name = {planned_step.name: planned_step for planned_step in planned}
    last = places.state(wanted.config.name) / "last.json"
    with _stages(
        wanted,
        planned,
        offline=offline,
        keep=keep_on_failure,
        runtime=runtime,
        following=ahead.following,
    ) as (cache, finished, log):
        disks = _paths(wanted, finished)
        if with_vm is not False:
            fetch = bool(with_vm)
            _deliver(cache, by_name["vm"], lambda: _define_vm(wanted, disks, fetch=fetch))
            _remember(last, {"vm": dict(by_name["vm"].inputs)})
        product = _deliver(
            cache,
            by_name["export"],
            lambda: _export(wanted, disks, output, ahead.grains),
        )
        _remember(last, {"export": dict(by_name["export"].inputs)})
    return Built(output, product["size"], product["sha256"], disks, log)


def build_disks(wanted: Request) -> tuple[Path, ...]:
    """Build what is not cached yet of the disks; nothing is handed to the user.

    Returns:
        The raw image of each disk, root first, and beside them the bill of materials.

    Raises:
        ApplianceError: a stage failed; all finished stages stay for the next build.
    """
    with _stages(wanted, steps(wanted, None)) as (_, finished, _):
        return _paths(wanted, finished)


def build_packages(wanted: Request, *, runtime: Runtime = "nspawn") -> tuple[str, Path]:
    """Build what is not cached yet of what apt and pip bring, Sage among it.

    Args:
        wanted: what to build.
        runtime: what boots the guest for the playbook.

    Returns:
        A name of the result, another for each other result, and the directory of the layer.

    Raises:
        ApplianceError: a stage failed; all finished stages stay for the next build.
    """
    planned = steps(wanted, None)
    with _stages(wanted, planned, last="packages", runtime=runtime) as (_, finished, _):
        return finished.name, finished / LAYER


@contextlib.contextmanager
def _stages(
    wanted: Request,
    planned: tuple[Step, ...],
    *,
    last: str = "disks",
    offline: bool = False,
    keep: bool = False,
    runtime: Runtime = "nspawn",
    following: Callable[[Path], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[tuple[Cache, Path, Path]]:
    """Run the stages up to one; cache, that one's directory and log file, to go on with."""
    missing = [s.name for s in planned if not s.cached and s.name in ("base", "packages")]
    if offline and missing:
        raise HostNotReadyError(
            f"offline, but {' and '.join(missing)} must be downloaded",
            hint="`appliance plan` says why; build without --offline",
        )
    cache = Cache(places.cache() / "stages")
    shop = Workshop(
        wanted, places.cache() / "packages", places.new_log(wanted.config.name), runtime, following
    )
    shop.downloads.mkdir(parents=True, exist_ok=True)
    remembered = places.state(wanted.config.name) / "last.json"
    by_name = {planned_step.name: planned_step for planned_step in planned}
    wanted_stages = LAYERED[: LAYERED.index(last) + 1]
    layers: list[Path] = []
    settling: list[Future[None]] = []
    with (
        _logging_to(shop.log),
        step(f"build {wanted.config.name} {wanted.config.version}"),
        ThreadPoolExecutor(1) as beside,
    ):
        if not all(by_name[name].cached for name in wanted_stages):
            private_mounts()
            temporary.sweep(TMPFS, shop.downloads, shop.wheels)
        for name in wanted_stages:
            _run_stage(cache, shop, by_name[name], layers, keep=keep)
            _remember(remembered, {name: dict(by_name[name].inputs)})
            settling.append(beside.submit(_settle, cache, by_name[name].key))
            layers = _on(layers, cache.entry(by_name[name].key))
        yield cache, cache.entry(by_name[last].key), shop.log
        for each in planned[len(wanted_stages) :]:
            settling.append(beside.submit(_settle, cache, each.key))
        for each_settled in settling:
            with _explaining("the last: writing to the disk", cache.root, shop.log):
                each_settled.result()
        cache.prune({s.key for s in planned}, seconds=MONTH_SECONDS)
        forget(shop.wheels, seconds=MONTH_SECONDS)


def _settle(cache: Cache, key: str) -> None:
    if cache.has(key):
        product = cache.record(key).get("product")
        cache.settle(key, *([product["path"]] if product else ()))


def _paths(wanted: Request, finished: Path) -> tuple[Path, ...]:
    return tuple(finished / DISKS / f"{system.name}.raw" for system in wanted.file_systems)


def root_layers(wanted: Request) -> tuple[Path, ...]:
    """The layers of a finished build's root file system, the lowest first.

    Args:
        wanted: what was built.

    Raises:
        ApplianceError: it is not built, or not any more.
    """
    cache = Cache(places.cache() / "stages")
    layers: list[Path] = []
    for each in steps(wanted, None)[: LAYERED.index("disks")]:
        if not each.cached:
            raise ApplianceError(f"{wanted.config.name} is not built", hint="appliance build")
        cache.touch(each.key)
        layers = _on(layers, cache.entry(each.key))
    return tuple(layers)


def _on(layers: list[Path], entry: Path) -> list[Path]:
    """The layers with that of a further stage on top."""
    return [*([] if whole(entry) else layers), entry / LAYER]


def _run_stage(
    cache: Cache, shop: Workshop, planned: Step, layers: list[Path], *, keep: bool
) -> None:
    with cache.claiming(planned.key) as unbuilt:
        if planned.cached or (not unbuilt and not planned.forced):
            cache.touch(planned.key)
            return
        from provision.build.work import work_of  # loads what boots a guest

        record = {"stage": planned.name, "inputs": planned.inputs}
        with (
            step(planned.name),
            _open_umask(),
            cache.building(planned.key, record, keep=keep) as part,
            _explaining(planned.name, cache.root, shop.log),
        ):
            work_of(planned.name, shop)(shop, tuple(layers), part)


@contextlib.contextmanager
def _open_umask() -> Iterator[None]:
    """What a stage writes lands in the image, where others than root must read it."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _deliver(cache: Cache, planned: Step, make: Callable[[], Product | None]) -> Product:
    """Make what is not kept in the cache but handed to the user, and write down what it was."""
    with cache.claiming(planned.key):
        if planned.cached:
            cache.touch(planned.key)
            stored: Product = cache.record(planned.key)["product"]
            return stored
        with step(planned.name), _explaining(planned.name, places.cache(), None):
            product = make()
        if product is None:
            return {}
        record = {"stage": planned.name, "inputs": planned.inputs, "product": product}
        with cache.building(planned.key, record):
            pass
    return product


def _define_vm(wanted: Request, disks: tuple[Path, ...], *, fetch: bool) -> Product | None:
    from provision.build.stages.vm import define_vm  # loads what speaks to VirtualBox

    return define_vm(wanted.config, disks, fetch=fetch)


def _export(
    wanted: Request, disks: tuple[Path, ...], output: Path, known: Callable[[str], Any]
) -> Product:
    from provision.build.stages.export import export

    return export(wanted, disks, disks[0].with_name(SBOM), output, known)


def _still_there(record: Mapping[str, Any], output: Path | None) -> bool:
    """Whether what a stage handed to the user is where it was put, untouched."""
    if "product" not in record:
        return True
    product = record["product"]
    if record["stage"] == "export" and (output is None or product["path"] != str(output.resolve())):
        return False
    try:
        status = Path(product["path"]).stat()
    except FileNotFoundError:
        return False
    return "size" not in product or (product["size"], product["mtime_ns"]) == (
        status.st_size,
        status.st_mtime_ns,
    )


@contextlib.contextmanager
def _explaining(stage: str, room: Path, log: Path | None) -> Iterator[None]:
    """Say of a failure which stage it was, and whether it was only a full disk."""
    try:
        yield
    except (OSError, ApplianceError) as error:
        if "No space left on device" in str(error) or _full(room):
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


def _full(room: Path) -> bool:
    """Whether a file system has no room; many a program names another reason then."""
    return room.exists() and shutil.disk_usage(room).free < FULL_BYTES


@contextlib.contextmanager
def _logging_to(log: Path) -> Iterator[None]:
    """Write everything that our modules log into the build's own file, VBoxManage's calls too."""
    loggers = [logging.getLogger(name) for name in ("provision", "vbox")]
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
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
    """Add to what is kept in a file; another build of the same appliance may be doing so too."""
    part = path.with_suffix(".part")
    with locks.holding(path.with_suffix(".lock"), wait=True):
        part.write_text(json.dumps({**_recall(path), **values}, indent=1, sort_keys=True))
        part.replace(path)
