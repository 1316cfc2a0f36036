"""Read a submission from a request: streamed to disk, bounded, never unpacked."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

_FIELD_BYTES = 8192
_BUFFER = 1 << 20
_FIELDS = ("notify", "token", "notify_format", "image", "engine")


class BadUploadError(Exception):
    """The request is no submission; the text says why."""


@dataclass(frozen=True)
class Fields:
    """The text fields of a submission; None where one was not sent."""

    notify: str | None = None
    token: str | None = None
    notify_format: str | None = None
    image: str | None = None
    engine: str | None = None


async def receive(request: web.Request, target: Path, most: int) -> Fields:
    """Stream the ``file`` part of a multipart request into a file.

    Args:
        request: the POST.
        target: where to write; the caller removes it when this raises.
        most: bytes that the file may have.

    Raises:
        BadUploadError: no multipart form, no file in it, or too much of something.
        OSError: the disk is full.
    """
    if not request.content_type.startswith("multipart/"):
        raise BadUploadError("the request is not multipart/form-data")
    fields: dict[str, str] = {}
    received = False
    try:
        reader = await request.multipart()
        while part := await reader.next():
            if not isinstance(part, BodyPartReader):
                raise BadUploadError("a multipart body inside the form")
            if part.name == "file":
                if received:
                    raise BadUploadError("more than one file")
                received = True
                await _to_disk(part, target, most)
            elif part.name in _FIELDS:
                fields[part.name] = await _text(part)
            else:
                await part.release()
    except (ValueError, AssertionError, LookupError, HttpProcessingError) as error:
        raise BadUploadError(f"the form cannot be read: {error}") from None
    if not received:
        raise BadUploadError("no file")
    return Fields(**fields)


async def _to_disk(part: BodyPartReader, target: Path, most: int) -> None:
    total, buffer = 0, bytearray()
    with target.open("xb") as sink:
        while chunk := await part.read_chunk(1 << 16):
            total += len(chunk)
            if total > most:
                raise BadUploadError(f"the file is larger than {most} bytes")
            buffer += chunk
            if len(buffer) >= _BUFFER:
                await asyncio.to_thread(_write, sink, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(_write, sink, bytes(buffer))


def _write(sink: IO[bytes], data: bytes) -> None:
    sink.write(data)
    sink.flush()


async def _text(part: BodyPartReader) -> str:
    data = bytearray()
    while chunk := await part.read_chunk(_FIELD_BYTES):
        data += chunk
        if len(data) > _FIELD_BYTES:
            raise BadUploadError(f"{part.name} is longer than {_FIELD_BYTES} bytes")
    return data.decode()
