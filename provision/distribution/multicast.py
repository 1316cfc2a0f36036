"""One stream to the whole room: a channel's current version by `udpcast`, to all seats at once.

What arrives is put into a folder as if it had been published there, and believed no more than a
web server is: `pull` from that folder, or with it as a cache, verifies it all.
"""

import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from provision import progress
from provision.distribution.bundle import contents
from provision.distribution.manifest import checked_name
from provision.distribution.source import LIMIT
from provision.errors import ApplianceError, HostNotReadyError, VerificationError
from provision.files import write_whole
from provision.process import require

PORT = 9000  # and the next one, UDP; an even number
START_SECONDS = 300  # that a receiver waits for the sender, and a sender for its receivers
SILENCE_SECONDS = 30
# What the last part of a path below each directory may look like is for `pull` to judge.
_PLACES = {"chunks": 3, "versions": 3, "channels": 2}


def send(
    source: Path,
    channel_name: str,
    receivers: int,
    *,
    interface: str | None = None,
    rate: str | None = None,
    port: int = PORT,
) -> int:
    """Send a channel's version to all who wait for it.

    Args:
        source: the published folder.
        channel_name: the channel.
        receivers: start when so many wait, or when no more have come for `START_SECONDS`.
        interface: network card; the default route's by default.
        rate: most bits a second, such as ``90m``.
        port: even UDP port.

    Returns:
        Bytes of content.

    Raises:
        HostNotReadyError: udpcast is not installed.
        ApplianceError: it failed.
    """
    version, files = contents(source, channel_name)
    argv = [
        require("udp-sender", "udpcast"), "--nokbd", "--no-progress",
        "--full-duplex", "--portbase", str(port),
        "--min-receivers", str(receivers), "--max-wait", str(START_SECONDS),
        *(("--interface", interface) if interface else ()),
        *(("--max-bitrate", rate) if rate else ()),
    ]  # fmt: skip

    def pack(process: "subprocess.Popen[bytes]") -> int:
        done = 0
        with tarfile.open(fileobj=process.stdin, mode="w|") as stream:
            for number, file in enumerate(files):
                stream.add(source / file, file.as_posix(), recursive=False)
                done += (source / file).stat().st_size
                progress.advance(number, len(files))
        return done

    with progress.step(f"send {version} to {receivers} seats"):
        return _through(argv, pack, stdin=subprocess.PIPE, stdout=None)


def receive(target: Path, *, interface: str | None = None, port: int = PORT) -> int:
    """Wait for a stream and put its files into a folder; what is there already stays.

    Returns:
        How many files came.

    Raises:
        HostNotReadyError: udpcast is not installed, or nobody sends.
        VerificationError: what came is no published folder.
    """
    argv = [
        require("udp-receiver", "udpcast"), "--nokbd", "--no-progress",
        "--nosync", "--portbase", str(port),
        "--start-timeout", str(START_SECONDS), "--receive-timeout", str(SILENCE_SECONDS),
        *(("--interface", interface) if interface else ()),
    ]  # fmt: skip

    def unpack(process: "subprocess.Popen[bytes]") -> int:
        came = 0
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as stream:
                for member in stream:
                    _keep(stream, member, target)
                    came += 1
                    progress.advance(came)
        except tarfile.TarError as error:
            raise HostNotReadyError(
                f"the stream broke off after {came} files: {error}",
                hint="receive again; or pull from the server: what came is not fetched twice",
            ) from error
        return came

    with progress.step("receive what the server sends"):
        return _through(argv, unpack, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def _keep(stream: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    parts = member.name.split("/")
    known = len(parts) == _PLACES.get(parts[0]) or parts == ["minisign.pub"]
    if not known or not member.isreg() or not 0 <= member.size <= LIMIT:
        raise VerificationError(f"{member.name!r} in the stream is no published file")
    place = target.joinpath(*(checked_name(part) for part in parts))
    content = stream.extractfile(member)
    assert content is not None  # noqa: S101 (a regular file has content)
    write_whole(place, content.read())


def _through(
    argv: list[str],
    work: "Callable[[subprocess.Popen[bytes]], int]",
    *,
    stdin: int,
    stdout: int | None,
) -> int:
    """Work on a program's pipe, and end it with us."""
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=told)
        try:
            done = work(process)
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
            broken = process.wait() != 0
        except BrokenPipeError:
            done, broken = 0, True
        except BaseException:
            process.kill()
            process.wait()
            raise
        if broken:
            process.wait()
            told.seek(0)
            last = told.read().decode(errors="replace").split("\n")[-4:]
            raise ApplianceError(f"{Path(argv[0]).name}: {' | '.join(last).strip(' |')}")
    return done
