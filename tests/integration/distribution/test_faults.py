"""Whatever goes wrong, the old appliance stays, and nothing unverified ever starts."""

import contextlib
import errno
import http.client
import http.server
import json
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import driverless
import pytest
from publishing import Publisher, Room, Server

from provision.distribution import assemble as assembling
from provision.distribution import chunks, room
from provision.distribution import pull as pulling
from provision.distribution.assemble import present
from provision.distribution.channel import Channel, sign
from provision.distribution.chunks import ChunkStore
from provision.distribution.manifest import read as read_manifest
from provision.distribution.peers import Sharing
from provision.distribution.source import Web
from provision.errors import (
    ApplianceError,
    HostNotReadyError,
    HypervisorError,
    UsageError,
    VerificationError,
)
from provision.ova import minisign
from vbox import VBoxManage, machine


@pytest.fixture
def updated(room: Room) -> Room:
    """A seat with version 1; version 2 is published."""
    room.publisher.publish(1)
    room.pull()
    room.publisher.publish(2)
    return room


def _assert_old(room: Room) -> None:
    """Version 1 is attached, and every byte of its untouched image is right."""
    name, described = room.publisher.publication.versions()[0]
    assert room.here.version() == name
    assert present(room.root(), described.disks[0])


def _chunks(room: Room) -> list[Path]:
    """Chunk files that the update needs and the seat lacks."""
    publication = room.publisher.publication
    (old, first), (new, second) = publication.versions()[:2]
    known = {piece.name for piece in publication.pieces(old, first.disks[0])}
    return [
        publication.store.path(piece.name)
        for piece in publication.pieces(new, second.disks[0])
        if piece.name not in known
    ]


def test_no_key_is_known(room: Room) -> None:
    room.publisher.publish(1)
    with pytest.raises(UsageError, match="nothing can be trusted"):
        room.pull(key=None)
    assert machine.find(room.manage, "sage") == ()


def test_wrong_signature_is_one_of_another_key(updated: Room, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    minisign.generate(other)
    channel = updated.publisher.root / "channels/stable.minisig"
    version = updated.publisher.publication.versions()[-1][0]
    sums = (updated.publisher.root / "versions" / version / "SHA256SUMS").read_bytes()
    channel.write_bytes(sign(Channel("stable", 9, version), sums, other))
    with pytest.raises(VerificationError, match="was signed with key"):
        updated.pull()
    _assert_old(updated)


def test_missing_signature(updated: Room) -> None:
    (updated.publisher.root / "channels/stable.minisig").unlink()
    with pytest.raises(VerificationError, match="no signed channel"):
        updated.pull()
    _assert_old(updated)


def test_another_publisher_with_a_key_of_its_own(updated: Room, tmp_path: Path) -> None:
    secret, public = tmp_path / "thief.key", tmp_path / "thief.pub"
    public.write_text(minisign.generate(secret).text())
    version = updated.publisher.publication.versions()[-1][0]
    shutil.rmtree(updated.publisher.root / "channels")
    updated.publisher.publication.promote(version, "stable", secret)
    with pytest.raises(VerificationError, match="another publisher"):
        updated.pull(key=public)
    _assert_old(updated)


def test_downgraded_channel(updated: Room, tmp_path: Path) -> None:
    channel = updated.publisher.root / "channels/stable.minisig"
    current = channel.read_bytes()
    updated.pull()
    updated.publisher.publish(3)
    updated.pull()
    channel.write_bytes(current)  # an old folder, correctly signed at its time
    with pytest.raises(VerificationError, match="went back"):
        updated.pull()
    assert updated.here.version() == updated.publisher.publication.versions()[-1][0]


def test_a_channel_that_names_the_same_version_again_moves_the_seat_on(updated: Room) -> None:
    """Numbers are remembered of each pull, of those with nothing to do as well."""
    publication, secret = updated.publisher.publication, updated.publisher.secret
    first, second = (name for name, _ in publication.versions())
    middle = (updated.publisher.root / "channels/stable.minisig").read_bytes()  # number 2: second
    publication.promote(first, "stable", secret)
    assert not updated.pull().changed
    (updated.publisher.root / "channels/stable.minisig").write_bytes(middle)
    with pytest.raises(VerificationError, match="went back"):
        updated.pull()
    publication.promote(second, "stable", secret)
    with pytest.raises(VerificationError, match="went back"):  # the server lost number 3
        updated.pull()


def test_a_power_cut_in_what_the_seat_remembers(updated: Room) -> None:
    folder, torn = updated.here.machine.folder, bytes(64)
    (folder / "serials.json").write_bytes(torn)
    updated.pull()
    updated.assert_version(2)
    (folder / "minisign.pub").write_bytes(torn)
    with pytest.raises(UsageError, match="nothing can be trusted"):
        updated.pull(key=None)
    assert not updated.pull().changed
    with _downgraded(updated.publisher), pytest.raises(VerificationError, match="went back"):
        updated.pull()


@pytest.mark.parametrize(
    "victim", ["manifest.json", "root.chunks.zst", "SHA256SUMS", "channel", "chunk"]
)
def test_one_flipped_bit(updated: Room, victim: str) -> None:
    version = updated.publisher.publication.versions()[-1][0]
    path = {
        "channel": updated.publisher.root / "channels/stable.minisig",
        "chunk": _chunks(updated)[0],
    }.get(victim, updated.publisher.root / "versions" / version / victim)
    good = path.read_bytes()
    spoilt = bytearray(good)
    spoilt[len(good) // 2] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(VerificationError):
        updated.pull()
    path.write_bytes(good)
    _assert_old(updated)


def test_flipped_bit_in_what_the_seat_has(updated: Room) -> None:
    """A spoilt untouched image is no source: its bad chunk is fetched."""
    image = updated.root()
    whole = image.read_bytes()
    middle = len(whole) // 2
    with image.open("r+b") as file:
        file.seek(middle)
        file.write(bytes([whole[middle] ^ 1]))
    updated.pull()
    name, described = updated.publisher.publication.versions()[-1]
    assert updated.here.version() == name
    assert present(updated.root(), described.disks[0])


def test_a_write_that_went_wrong_is_found_end_to_end(
    updated: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each chunk was right when it came; the image is read back before it is attached."""
    real, spoilt = assembling._write_at, list[int]()

    def write(file: int, content: bytes, offset: int) -> None:
        if offset and not spoilt:
            spoilt.append(offset)
            content = bytes([content[0] ^ 1]) + content[1:]
        real(file, content, offset)

    monkeypatch.setattr(assembling, "_write_at", write)
    with pytest.raises(VerificationError, match="not the published one"):
        updated.pull()
    assert spoilt
    _assert_old(updated)
    updated.pull()
    updated.assert_version(2)


def test_server_gone_half_way(
    updated: Room, serve: Callable[[Path], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provision.distribution.source.PAUSE_SECONDS", 0.01)
    server = serve(updated.publisher.root)
    sizes = [path.stat().st_size for path in _chunks(updated)]
    server.die_after = sum(sizes) // 2 + 20_000
    with pytest.raises(HostNotReadyError, match="does not answer") as caught:
        updated.pull(server.url)
    assert "not fetched again" in str(caught.value.hint)
    _assert_old(updated)
    server.die_after, before = None, len(server.requests)
    pulled = updated.pull(server.url)
    assert 0 < pulled.fetched < len(sizes)
    assert len(server.requests) - before < len(sizes) + 8
    updated.assert_version(2)


def test_full_disk(updated: Room) -> None:
    """As a write beyond a limit on file size fails, so does one on a full file system."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, limits[1]))
    try:
        with pytest.raises(HostNotReadyError, match="no room") as caught:
            updated.pull()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "pull again" in str(caught.value.hint)
    _assert_old(updated)
    updated.pull()
    updated.assert_version(2)


def test_disk_that_fills_up_while_writing(updated: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(HostNotReadyError, match="no room"):
            updated.pull()
    _assert_old(updated)


class Mortal(VBoxManage):
    """A VBoxManage whose caller is killed (no handler runs) before its n-th change."""

    left = 0
    READ = ("showvminfo", "list", "getextradata", "showmediuminfo")

    def run(self, *args: str, **options: object) -> str:  # type: ignore[override]
        if args[0] not in self.READ:
            Mortal.left -= 1
            if Mortal.left < 0:
                os._exit(137)
        return super().run(*args, **options)  # type: ignore[arg-type]


def _killed(room: Room, changes: int) -> bool:
    """Pull in a process that dies before its change number ``changes``; False: it got through."""
    child = os.fork()
    if child == 0:
        Mortal.left = changes
        try:
            Room(room.publisher, Mortal(room.manage.path, room.manage.env), room.folders).pull()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 137), "the pull failed where it should have gone on"
    return status == 137


def test_seat_switched_off_in_mid_switch_at_every_step(updated: Room) -> None:
    changes = 0
    while _killed(updated, changes):
        attached = updated.here.machine.get().attachments[0].medium
        version = attached.parent.name
        described = dict(updated.publisher.publication.versions())[version]
        assert attached.exists()
        assert present(attached.with_name("root.vdi"), described.disks[0])
        changes += 1
    assert changes > 5
    updated.assert_version(2)
    updated.here.rollback()
    updated.assert_version(1)


@pytest.mark.parametrize(
    "steps",
    [(1, 2, 3, 8, 16), pytest.param(range(40), marks=pytest.mark.slow)],
    ids=["unmarked-bare-diskless-half-late", "every-one"],
)
def test_seat_switched_off_while_it_makes_the_vm(room: Room, steps: Iterable[int]) -> None:
    """What is left half-made is taken over or cleared away, and the next pull gets through."""
    room.publisher.publish(1)
    died = [_killed(room, changes) for changes in steps]
    assert all(died[:5])
    assert not _killed(room, 1000)
    room.assert_version(1)
    assert len(machine.find(room.manage, "sage")) == 1


def test_seat_switched_off_while_fetching(updated: Room, serve: Callable[[Path], Server]) -> None:
    server = serve(updated.publisher.root)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        updated.pull(server.url)
        os._exit(0)
    deadline = time.monotonic() + 20
    while len(server.requests) < 8 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _assert_old(updated)
    updated.pull(server.url)
    updated.assert_version(2)


def test_two_pulls_at_once(updated: Room) -> None:
    with (
        pulling._alone(updated.here.machine.folder),
        pytest.raises(ApplianceError, match="another pull"),
    ):
        updated.pull()
    _assert_old(updated)


def test_clock_off_by_years(updated: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind, nothing can be told and nothing is lost; ahead, all has expired, and that is said."""
    real, years = time.time, 20 * 365 * 86400
    monkeypatch.setattr(time, "time", lambda: real() + years)
    with pytest.raises(VerificationError, match="expired on") as caught:
        updated.pull()
    assert "is the clock right?" in str(caught.value.hint)
    _assert_old(updated)
    monkeypatch.setattr(time, "time", lambda: real() - years)
    updated.pull()
    updated.assert_version(2)


def test_virtualbox_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from provision.machine.virtualbox import find_virtualbox

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(HostNotReadyError, match="VirtualBox is not installed") as caught:
        find_virtualbox()
    assert "install VirtualBox" in str(caught.value.hint)


@pytest.fixture
def startable(publisher: Publisher, running_manage: VBoxManage, tmp_path: Path) -> Room:
    """A seat with version 1 that this host can start; version 2 is published."""
    room = Room(publisher, running_manage, tmp_path / "seat")
    publisher.publish(1)
    room.pull()
    publisher.publish(2)
    _make_startable(room)
    return room


def _make_startable(room: Room) -> None:
    found = room.here.machine.get()
    machine.modify(room.manage, found, memory=64, cpus=1)
    driverless.interpreted(room.manage, found)


@pytest.fixture
def running(startable: Room) -> Iterator[tuple[Room, Callable[[], None]]]:
    """The same, powered on, and what powers it off."""
    found = startable.here.machine.get()
    machine.start(startable.manage, found)
    yield startable, lambda: machine.power_off(startable.manage, found)
    machine.power_off(startable.manage, found)


def test_vm_running_while_a_pull_arrives_is_left_alone(
    running: tuple[Room, Callable[[], None]],
) -> None:
    room, power_off = running
    with pytest.raises(HypervisorError, match="is running") as caught:
        room.pull()
    assert "--timeout" in str(caught.value.hint)
    assert room.here.machine.get().state == "running"
    timer = threading.Timer(2, power_off)
    timer.start()
    pulled = room.pull(patience=60)
    timer.join()
    assert pulled.fetched == 0  # all of it came while the VM ran
    assert room.here.version() == pulled.version


@contextlib.contextmanager
def _without(path: Path) -> Iterator[None]:
    good = path.read_bytes()
    path.unlink()
    yield
    path.write_bytes(good)


@contextlib.contextmanager
def _flipped(path: Path) -> Iterator[None]:
    good = path.read_bytes()
    path.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    yield
    path.write_bytes(good)


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        yield


@contextlib.contextmanager
def _clock(year: float) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time, "time", lambda: (year - 1970) * 365 * 86400)
        yield


@pytest.mark.slow
def test_the_old_appliance_still_starts_after_each_fault(
    startable: Room,
    serve: Callable[[Path], Server],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """VirtualBox opens its disks and runs it; only in mid-switch it may be the new one."""
    monkeypatch.setattr("provision.distribution.source.PAUSE_SECONDS", 0.01)
    root = startable.publisher.root
    version = startable.publisher.publication.versions()[-1][0]
    needed = _chunks(startable)
    dying = serve(root)
    dying.die_after = needed[0].stat().st_size + 20_000
    faults: dict[str, tuple[contextlib.AbstractContextManager[None], str]] = {
        "missing signature": (_without(root / "channels/stable.minisig"), str(root)),
        "wrong signature": (_flipped(root / "channels/stable.minisig"), str(root)),
        "a flipped bit in a list": (
            _flipped(root / f"versions/{version}/root.chunks.zst"),
            str(root),
        ),
        "a full disk": (_no_room(), str(root)),
        "another pull at work": (pulling._alone(startable.here.machine.folder), str(root)),
        "the server gone half-way": (contextlib.nullcontext(), dying.url),
        "a flipped bit in a chunk": (_flipped(needed[-1]), str(root)),  # what came before stays
    }
    for fault, (broken, source) in faults.items():
        with broken, pytest.raises(ApplianceError):
            startable.pull(source)
        _assert_old(startable)
        _assert_starts(startable, fault)
    changes = 0
    while _killed(startable, changes):
        _make_startable(startable)
        _assert_starts(startable, f"switched off before change {changes}")
        changes += 3
    with _clock(1998):
        assert not startable.pull().changed
    startable.assert_version(2)
    with _downgraded(startable.publisher), pytest.raises(VerificationError, match="went back"):
        startable.pull()
    startable.assert_version(2)
    _assert_starts(startable, "a downgraded channel")
    startable.publisher.publish(3)
    with _lying_room(root, tmp_path / "spool") as (url, sharing):
        pulled = startable.pull(url, sharing=sharing)
        assert (pulled.fetched > 0, sharing.from_peers) == (True, 0)
    startable.assert_version(3)
    _make_startable(startable)
    _assert_starts(startable, "a peer serving bad data")


@contextlib.contextmanager
def _downgraded(publisher: Publisher) -> Iterator[None]:
    """The channel as it was when version 1 was published, correctly signed."""
    version = publisher.publication.versions()[0][0]
    sums = (publisher.root / "versions" / version / "SHA256SUMS").read_bytes()
    file = publisher.root / "channels/stable.minisig"
    newer = file.read_bytes()
    file.write_bytes(sign(Channel("stable", 1, version), sums, publisher.secret))
    yield
    file.write_bytes(newer)


class _Liar(http.server.BaseHTTPRequestHandler):
    """A seat that has every chunk, and each is another one."""

    def do_GET(self) -> None:
        data = chunks.compress(b"not what you asked for")
        self.send_response(http.client.OK)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextlib.contextmanager
def _lying_room(root: Path, spool: Path) -> Iterator[tuple[str, Sharing]]:
    """The room's server, and this seat beside one that lies."""
    server = room.serve(root, "127.0.0.1", 0)
    liar = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Liar)
    source = Web(f"http://127.0.0.1:{server.server_address[1]}")
    for each in (server, liar):
        threading.Thread(target=each.serve_forever, args=(0.05,), daemon=True).start()
    report = {"port": liar.server_address[1], "state": "pulling"}
    source.once("PUT", "seats/liar.json", body=json.dumps(report).encode())
    with Sharing(source, "seat-1", ChunkStore(spool), gather=0) as sharing:
        yield source.url, sharing
        assert sharing._liars == {"liar"}
    for each in (server, liar):
        each.shutdown()
        each.server_close()


def _assert_starts(room: Room, fault: str) -> None:
    found = room.here.machine.get()
    machine.start(room.manage, found)
    state = room.here.machine.get().state
    machine.power_off(room.manage, found)
    assert state == "running", f"after {fault}: {state}"


def test_manifest_of_a_newer_program() -> None:
    with pytest.raises(VerificationError, match="newer program"):
        read_manifest(b'{"format": 2}')
