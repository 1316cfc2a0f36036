"""Bring a channel's version to a seat: trust, fetch what is missing, switch.

The order is what makes it safe. Nothing is believed before the signature; nothing is attached to
the VM before its image was read back and found to be the published one; and the exchange of the
root disk is one step of VirtualBox's.
"""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from provision import locks, progress
from provision.config.architectures import require_host
from provision.distribution import channel, chunks, manifest, pins, seats
from provision.distribution.assemble import assemble, present
from provision.distribution.channel import Channel
from provision.distribution.chunks import ChunkStore, Piece
from provision.distribution.installed import Installed, recorded_version, slots
from provision.distribution.manifest import MANIFEST, SUMS, Manifest
from provision.distribution.packs import AHEAD, FILE_LIMIT, Packed, divide
from provision.distribution.seats import Seat
from provision.distribution.source import MissingError, Origin
from provision.distribution.supply import Chain, Count, Seed, of_images, of_server, of_store
from provision.errors import ApplianceError, HypervisorError, UsageError, VerificationError
from provision.files import write_whole
from provision.machine.hypervisor import Hypervisor
from provision.ova import minisign

if TYPE_CHECKING:
    from provision.config import Config
    from provision.distribution.peers import Sharing

SETTINGS = "appliance.yml"
ADMIN_KEY = "id_ed25519"
SEAT = "seat.json"  # what the last pull was asked for
FAR = ("seats", "server")  # suppliers that cost the network something


@dataclass(frozen=True)
class Pulled:
    """What a pull came to.

    Args:
        name: the VM.
        version: the version that is installed now.
        previous: the one before; None: there was none, or it is the same.
        changed: whether anything was done.
        settings: the seat's own appliance.yml, for the other verbs.
        came: how many chunks came from where: an ``unfinished`` image, the ``disks`` of this
            host, a ``cache``, other ``seats``, the ``server``.
    """

    name: str
    version: str
    previous: str | None
    changed: bool
    settings: Path
    came: Mapping[str, Count] = field(default_factory=dict)

    @property
    def local(self) -> int:
        """Chunks that this host had already."""
        return sum(count.chunks for name, count in self.came.items() if name not in FAR)

    @property
    def fetched(self) -> int:
        """Chunks that came over the network."""
        return sum(self.came[name].chunks for name in FAR if name in self.came)

    @property
    def fetched_size(self) -> int:
        """Bytes of these, compressed."""
        return sum(self.came[name].size for name in FAR if name in self.came)


@dataclass(frozen=True)
class Offer:
    """A version that a channel offers, its signature verified.

    Args:
        channel: the channel and its serial.
        key: who signed it.
        sums: digest of each of the version's files.
    """

    channel: Channel
    key: minisign.PublicKey
    sums: Mapping[str, str]

    def get(self, source: Origin, file: str) -> bytes:
        """Fetch one of the version's files.

        Raises:
            VerificationError: it is not the file that was signed.
        """
        data = source.get(f"versions/{self.channel.version}/{file}")
        if hashlib.sha256(data).hexdigest() != self.sums.get(file):
            raise VerificationError(f"{file} of {self.channel.version} is not the signed one")
        return data


def fetch_offer(source: Origin, name: str, keys: Sequence[minisign.PublicKey]) -> Offer:
    """Fetch what a channel offers and check its signature.

    Args:
        source: the published folder.
        name: the channel.
        keys: whom to trust.

    Raises:
        VerificationError: the signature is wrong, missing, or of another key.
        SourceError: it cannot be fetched.
    """
    try:
        signature = source.get(channel.path(name), limit=channel.LIMIT)
    except MissingError as error:
        raise VerificationError(f"there is no signed channel {name!r}: {error}") from error
    claimed = channel.claim(signature)
    sums = source.get(f"versions/{claimed.version}/{SUMS}", limit=manifest.SUMS_LIMIT)
    for number, key in enumerate(keys, 1):
        try:
            found = channel.verify(signature, sums, key, name)
        except VerificationError:
            if number == len(keys):
                raise
            continue
        lines = (line.split("  ", 1) for line in sums.decode().splitlines())
        return Offer(found, key, {file: digest for digest, file in lines})
    raise UsageError(
        "no publisher's key is known on this seat, so nothing can be trusted",
        hint="get the publisher's minisign.pub by hand and give it once: --public-key minisign.pub",
    )


def pull(
    source: Origin,
    folders: Path,
    hypervisor: Hypervisor,
    *,
    key: Path | None = None,
    name: str = "{name}",
    seat: Seat | None = None,
    channel_name: str = "stable",
    patience: float = 0,
    sharing: "Sharing | None" = None,
    cache: Path | None = None,
    accept_expired: bool = False,
) -> Pulled:
    """Install or update the appliance of this seat.

    Args:
        source: the published folder.
        folders: has, or gets, a folder for each appliance of this host.
        hypervisor: of this host.
        key: the publisher's public key; needed the first time, pinned from then on.
        name: the VM's name, in which ``{name}`` is the published one and ``{seat}`` the number.
        seat: the line of the seat file that is ours.
        channel_name: the channel to follow.
        patience: seconds to wait for a running VM to be shut down.
        sharing: with the other seats of the room, who are asked before ``source``.
        cache: a folder as the published one, such as a stick or what `multicast` received, whose
            chunks are taken before any is fetched.
        accept_expired: take a channel that expired, such as that of an old stick.

    Raises:
        VerificationError: signature, serial or content is wrong; nothing was changed.
        HostNotReadyError: no room, or the source does not answer; the next pull goes on.
        HypervisorError: the VM runs, or VirtualBox failed; the old version is as it was.
    """
    seat = seat or Seat(0)
    given = [minisign.public_key(key)] if key else []
    known = pins.known_keys(sorted(folders.glob(f"*/{pins.KEY}")))
    offer = fetch_offer(source, channel_name, [*given, *known])
    described = manifest.read(offer.get(source, MANIFEST))
    require_host(described.arch, f"{described.name} {described.version}")
    own = manifest.checked_name(seat.name or seats.seat_name(name, described.name, seat.number))
    folder, settings, version = folders / own, folders / own / SETTINGS, offer.channel.version
    asked = json.dumps([asdict(seat), own], sort_keys=True).encode()
    same = (folder / SEAT).exists() and (folder / SEAT).read_bytes() == asked
    pins.check(folder, offer.channel, offer.key)
    if not accept_expired:
        _check_time(folder, offer.channel)
    if same and (folder / pins.KEY).exists() and recorded_version(hypervisor, own) == version:
        pins.remember(folder, offer.channel)
        return Pulled(own, version, None, False, settings)
    config = seats.seat_config(described.definition, seat, own)
    here = Installed(hypervisor.machine(config, folder, folder / ADMIN_KEY))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(folder):
        pins.check(folder, offer.channel, offer.key)  # another pull may have gone on meanwhile
        if (folder / pins.KEY).exists():  # before the work: a later pull takes no earlier one
            pins.remember(folder, offer.channel)
        before, came = here.version(), dict[str, Count]()
        if before != version:
            _check_free(here, before)
            suppliers = functools.partial(build_chain, source, folders, cache, sharing)
            came = _download(source, offer, described, here, suppliers)
        here.require_off(patience=patience)
        pins.pin(folder, offer.key)
        pins.remember(folder, offer.channel)
        write_whole(settings, settings_text(config).encode(), durable=True)
        _settle(here, before, version, described, seat.mac or seats.mac(own))
        write_whole(folder / SEAT, asked, durable=True)
    previous = None if before == version else before
    return Pulled(own, version, previous, True, settings, came)


def _settle(
    here: Installed, before: str | None, version: str, described: Manifest, mac: str
) -> None:
    """Give the VM its version and its seat, whatever it has of them."""
    names = {port: disk.name for port, disk in slots(described).items()}
    if before == version:
        here.adjust(mac=mac)
    elif before is None:
        here.install(version, names, mac=mac)
    else:
        here.switch(version, names, mac=mac)


def roll_back(folders: Path, hypervisor: Hypervisor, name: str, *, patience: float = 0) -> str:
    """Put the version before back, as it was left; return it.

    Raises:
        HypervisorError: there is none, or the VM runs.
    """
    here = open_installed(folders, hypervisor, name, asked="--name NAME")
    with _alone(here.machine.folder):
        here.require_off(patience=patience)
        return here.rollback()


def open_installed(
    folders: Path, hypervisor: Hypervisor, name: str, *, asked: str = "NAME"
) -> Installed:
    """The appliance of this name that was pulled to this host.

    Args:
        folders: as for `pull`.
        hypervisor: of this host.
        name: its name; ``{name}``: the only one that there is.
        asked: how the verb at work is told a name.

    Raises:
        UsageError: there is none, or more than one.
    """
    there = sorted(path.parent.name for path in folders.glob(f"*/{SETTINGS}"))
    if name == "{name}" and len(there) == 1:
        name = there[0]
    if name not in there:
        raise UsageError(
            f"which appliance? Pulled to this host: {', '.join(there) or 'none'}",
            hint=f"say which: {asked}"
            if there
            else "appliance pull SOURCE --public-key minisign.pub",
        )
    from provision.config import load  # noqa: PLC0415 (a pull with nothing new has no need)

    config = load(folders / name / SETTINGS)
    return Installed(hypervisor.machine(config, folders / name, folders / name / ADMIN_KEY))


def build_chain(
    source: Origin,
    folders: Path,
    cache: Path | None,
    sharing: "Sharing | None",
    wanted: Iterable[Sequence[Piece]],
) -> Chain:
    """Whom to ask for a chunk, the nearest first.

    Args:
        source: the published folder.
        folders: what this host has of earlier versions, see `pull`.
        cache: see `pull`.
        sharing: with the other seats of the room.
        wanted: the chunks of each disk.
    """
    seeds = list(_seeds(folders))

    def get(piece: Piece) -> bytes:
        return source.get(f"chunks/{chunks.relative(piece.name)}", limit=chunks.FILE_LIMIT)

    def share(found: Mapping[str, bytes]) -> None:
        if sharing:  # others will ask for all of it
            for name, content in found.items():
                sharing.store.put(name, chunks.compress(content))

    def get_for_all(piece: Piece) -> bytes:
        if sharing is None or packed.supply(piece) is None:
            return get(piece)
        return sharing.store.path(piece.name).read_bytes()  # where `share` has put it

    packed = Packed(
        [pack for pieces in wanted for pack in divide(pieces)],
        lambda pack: source.get(pack.path, limit=FILE_LIMIT),
        ahead=1 if sharing else AHEAD,  # of which the next is another seat's to fetch
        fetched=share,
        offered=not seeds and cache is None,  # who has most of it wants single chunks
    )
    single = of_server(get)
    return Chain(
        disks=of_images(seeds),
        cache=of_store(ChunkStore(cache / "chunks")) if cache else None,
        **(
            sharing.suppliers(get_for_all, packed.keeper, packed.wait)
            if sharing
            else {"server": lambda piece: packed.supply(piece) or single(piece)}
        ),
    )


def _download(
    source: Origin,
    offer: Offer,
    described: Manifest,
    here: Installed,
    suppliers: Callable[[Iterable[Sequence[Piece]]], Chain],
) -> dict[str, Count]:
    """Have the untouched image of every disk that will be attached; what came from where."""
    directory = here.versions / offer.channel.version
    directory.mkdir(parents=True, exist_ok=True)
    wanted = [disk for port, disk in slots(described).items() if not (disk.keep and here.has(port))]
    lists = {disk.name: offer.get(source, disk.pieces_file) for disk in wanted}
    pieces = {name: manifest.read_pieces(listed) for name, listed in lists.items()}
    chain = suppliers(pieces.values())
    before, resumed = source.received, 0
    for disk in wanted:
        target = here.image(offer.channel.version, disk.name)
        with progress.step(f"the {disk.name} disk of version {described.version}"):
            if target.exists() and present(target, disk):
                continue
            resumed += assemble(
                disk,
                pieces[disk.name],
                target,
                identity=here.identity(offer.channel.version, disk.name),
                fetch=chain.fetch,
            ).resumed
        write_whole(directory / disk.pieces_file, lists[disk.name])
    chain.counts["server"].size = source.received - before  # by packs they are fewer
    return {"unfinished": Count(resumed), **chain.counts}


def _seeds(folders: Path) -> Iterator[Seed]:
    """Every untouched image on this host, the newest first."""
    lists = folders.glob("*/versions/*/*.chunks.zst")
    for path in sorted(lists, key=lambda path: path.stat().st_mtime, reverse=True):
        image = path.with_name(path.name.replace(".chunks.zst", ".vdi"))
        if image.exists():
            with contextlib.suppress(VerificationError):
                yield Seed(image, manifest.read_pieces(path.read_bytes()))


def _check_time(folder: Path, offered: Channel) -> None:
    """Refuse what has expired, by a clock that may be wrong, but not before what was seen."""
    now = time.time()
    if now < offered.signed - channel.SKEW_SECONDS:
        progress.note("this host's clock is behind: whether the channel has expired is unknown")
    channel.check_fresh(offered, max(now, pins.latest(folder)))


def _check_free(here: Installed, before: str | None) -> None:
    """A VM of the same name that was not pulled is somebody's work."""
    if before is None and here.machine.find():
        raise HypervisorError(
            f"the VM {here.machine.config.name!r} was made in another way and is left alone",
            hint="pull under another name: --name NAME; or `appliance destroy` it first",
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locks.holding(folder / "pull.lock", wait=False))
        except BlockingIOError as error:
            raise ApplianceError(
                f"another pull of {folder.name} is at work on this host",
                hint="let it finish; the second has nothing to do then",
            ) from error
        yield


def settings_text(config: "Config") -> str:
    """An appliance.yml (JSON is YAML) for the verbs that start and reach the VM."""
    return (
        "# Written by `appliance pull`; it is written anew with each version.\n"
        + json.dumps(manifest.definition(config), indent=1)
        + "\n"
    )
