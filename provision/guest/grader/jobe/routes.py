"""Jobe's requests: languages, files and runs; a run is answered when it is over."""

import asyncio
import base64
import json
import logging
import os
import secrets
import sqlite3
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from provision.guest.grader.engine import FINISHED, Engine
from provision.guest.grader.jobe.files import Files
from provision.guest.grader.jobe.languages import LANGUAGES
from provision.guest.grader.jobe.run import (
    FILE_ID,
    SERVER_OVERLOAD,
    BadRunError,
    Run,
    answer,
    limit,
    pack,
    pack_versions,
    parse,
    read_versions,
)
from provision.guest.grader.scheduler import QueueFullError, QuotaError, Scheduler
from provision.guest.grader.settings import Settings
from provision.guest.grader.store import DONE, QUEUED, Task
from provision.guest.sandbox.limits import MIB, Limits

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

PLACES = ("/jobe/index.php/restapi", "/jobe/restapi")  # with and without a rewritten address
_BODY, _RUN_BODY = 8 * MIB, 2 * MIB  # bytes of a request with a file, and with a run
_KEPT = 8  # times the size of an upload that a client's files may have
_LONG = 60.0  # seconds between looks at a task


class Jobe:
    """Jobe's routes of a grading service.

    Args:
        settings: the service's.
        engines: its engines.
        scheduler: gives its scheduler, once it runs.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Mapping[str, Engine],
        scheduler: Callable[[], Scheduler],
    ) -> None:
        self._settings, self._scheduler = settings, scheduler
        self._engine = engines[settings.engine]
        self._files = Files(
            settings.state / "jobe", settings.keep_seconds, _KEPT * settings.upload_size
        )
        # While a request is read it takes memory: those of one client wait for each other.
        self._turns: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(settings.uploads_per_client)
        )
        # What is decoded or packed takes many times the memory of a request: one at a time.
        self._decoding = asyncio.Lock()
        self._versions: dict[tuple[str, ...], dict[str, str]] = {}

    def add_to(self, app: web.Application) -> None:
        """Add the routes; before those that take any path."""
        for place in PLACES:
            for end in ("", "/"):
                app.router.add_get(f"{place}/languages{end}", _safe(self._languages))
                app.router.add_post(f"{place}/runs{end}", _safe(self._run))
            app.router.add_head(f"{place}/files/{{id}}", self._has)
            app.router.add_put(f"{place}/files/{{id}}", _safe(self._put))

    async def _languages(self, request: web.Request) -> web.StreamResponse:
        images = self._languages_of_images()
        told: dict[str, str] = {}
        for image in dict.fromkeys(images.values()):
            names = [name for name in images if images[name] == image]
            told |= await self._ask_versions(request["client"], image, names)
        return web.json_response([[name, told[name]] for name in images])

    def _languages_of_images(self) -> dict[str, str]:
        """The image for each language that is in one; the first has precedence."""
        images = sorted(self._engine.images(), key=lambda name: name != self._settings.image)
        found = {}
        for name, language in LANGUAGES.items():
            for image in images:
                if os.path.lexists(self._settings.images / image / language.program):
                    found[name] = image
                    break
        return found

    async def _ask_versions(self, client: str, image: str, names: list[str]) -> dict[str, str]:
        key = (image, *names)
        if key not in self._versions:
            try:
                done = await self._work(client, image, pack_versions(names), self._settings.limits)
            except (QueueFullError, QuotaError, OSError, sqlite3.Error):
                return read_versions(names, "")
            assert done.result is not None  # noqa: S101 (it is done)
            told = read_versions(names, done.result.stdout)
            if done.result.status != FINISHED:  # on a host without room: asked again next time
                return told
            self._versions[key] = told
        return self._versions[key]

    async def _has(self, request: web.Request) -> web.StreamResponse:
        identifier = request.match_info["id"]
        known = FILE_ID.fullmatch(identifier)
        if not known or self._files.size(request["client"], identifier) is None:
            return web.Response(status=404)
        return web.Response(status=204)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        identifier = request.match_info["id"]
        if not FILE_ID.fullmatch(identifier):
            raise BadRunError(f"{identifier!r} is no identifier: 8 to 64 letters and digits")
        async with self._turns[request["client"]]:
            body = await self._read(request, _BODY)
            async with self._decoding:
                content = await asyncio.to_thread(_content, body)
            await asyncio.to_thread(self._files.put, request["client"], identifier, content)
        return web.Response(status=204)

    async def _run(self, request: web.Request) -> web.StreamResponse:
        client: str = request["client"]
        async with self._turns[client]:
            body = await self._read(request, _RUN_BODY)
            async with self._decoding:
                run = await asyncio.to_thread(_parse, body, self._settings.limits)
            image = self._languages_of_images().get(run.language)
            if image is None:
                raise BadRunError(f"no image here has the language {run.language}")
            sizes = {each: self._files.size(client, each) for each in run.files.values()}
            if missing := [each for each, size in sizes.items() if size is None]:
                return web.Response(text=f"files are missing: {', '.join(missing)}", status=404)
            if sum(sizes[each] or 0 for each in run.files.values()) > self._settings.upload_size:
                raise BadRunError(f"the files have more than {self._settings.upload_size} bytes")
            async with self._decoding:
                archive = await asyncio.to_thread(self._pack, client, run)
        done = await self._work(client, image, archive, limit(run, self._settings.limits))
        assert done.result is not None  # noqa: S101 (it is done)
        return web.json_response(answer(run, done.id, done.result))

    async def _read(self, request: web.Request, most: int) -> bytes:
        """The body of a request.

        Raises:
            BadRunError: it is too large.
            TimeoutError: it came too slowly.
        """
        body, most = bytearray(), min(most, self._settings.upload_size)
        async with asyncio.timeout(self._settings.upload_seconds):
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > most:
                    raise BadRunError(f"the request is larger than {most} bytes")
        return bytes(body)

    def _pack(self, client: str, run: Run) -> bytes:
        told = {name: self._files.get(client, each) or b"" for name, each in run.files.items()}
        return pack(run, told)

    async def _work(self, client: str, image: str, archive: bytes, limits: Limits) -> Task:
        """Run a task to its end.

        Raises:
            QueueFullError, QuotaError: there is no room for it.
            OSError, sqlite3.Error: the disk is full.
        """
        scheduler = self._scheduler()
        scheduler.check_room(client)
        identifier = secrets.token_urlsafe(12)
        path = scheduler.archive(identifier)
        task = Task(
            id=identifier,
            client=client,
            state=QUEUED,
            image=image,
            engine=self._settings.engine,
            notify=None,
            token=None,
            format="json",
            created=time.time(),
            limits=limits,
        )
        try:
            await asyncio.to_thread(path.write_bytes, archive)
            scheduler.submit(task)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        while task.state != DONE:
            task = await scheduler.wait(task, _LONG)
        return task


def _parse(body: bytes, most: Limits) -> Run:
    return parse(_json(body), most)


def _content(body: bytes) -> bytes:
    told = _json(body)
    text = told.get("file_contents") if isinstance(told, dict) else None
    if not isinstance(text, str):
        raise BadRunError("file_contents is missing")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise BadRunError("file_contents is not in Base64") from None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRunError("the request is no JSON") from None


def _safe(handler: Handler) -> Handler:
    """A handler whose errors are answered as Jobe's clients read them."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except BadRunError as error:
            return web.Response(text=str(error), status=400)
        except (QueueFullError, QuotaError):
            told = {"run_id": "", "outcome": SERVER_OVERLOAD}
            return web.json_response(told | {"cmpinfo": "", "stdout": "", "stderr": ""})
        except TimeoutError:
            return web.Response(text="the upload took too long", status=408)
        except ConnectionError:
            raise
        except (OSError, sqlite3.Error) as error:
            log.error("%s: %s", request.path, error)
            return web.Response(text="it cannot be kept: is the disk full?", status=507)

    return handle
