"""The HTTP service: the TMC sandbox protocol, and a modern interface beside it."""

import asyncio
import contextlib
import hashlib
import html
import json
import logging
import os
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from provision.guest.grader import openapi
from provision.guest.grader.engine import Engine
from provision.guest.grader.jobe.routes import Jobe
from provision.guest.grader.notify import Notifier
from provision.guest.grader.scheduler import QueueFullError, QuotaError, Scheduler
from provision.guest.grader.settings import Settings
from provision.guest.grader.store import DONE, QUEUED, Store, Task
from provision.guest.grader.uploads import BadUploadError, Fields, receive

log = logging.getLogger(__name__)

_LONGEST_POLL = 60.0
_KEEP_ALIVE = 15.0  # seconds between comments on an event stream
_OPEN = ("/status.json", "/metrics", "/openapi.json", "/docs")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """The routes. One instance for each application.

    Args:
        settings: see `Settings`.
        engines: the engines that a task may name.
    """

    def __init__(self, settings: Settings, engines: Mapping[str, Engine]) -> None:
        self.settings, self.engines = settings, engines
        self._tokens = {_digest(token): name for token, name in settings.tokens.items()}
        self._uploads: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()

    def application(self) -> web.Application:
        """The aiohttp application; it starts and stops everything else with itself."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/status.json", self._status)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_get("/docs", self._docs)
        app.router.add_get("/tasks/{id}", self._task)
        app.router.add_get("/tasks/{id}/events", self._events)
        Jobe(self.settings, self.engines, lambda: self.scheduler).add_to(app)
        app.router.add_post("/{path:.*}", self._post)
        app.cleanup_ctx.append(self._running)
        return app

    async def _running(self, app: web.Application) -> Any:
        (self.settings.state / "uploads").mkdir(parents=True, exist_ok=True)
        self.store = Store(self.settings.state / "tasks.sqlite")
        self.notifier = Notifier(
            self.settings.notify_allow, self.settings.notify_seconds, self.settings.notify_refuse
        )
        await self.notifier.open()
        self.scheduler = Scheduler(self.settings, self.engines, self.store, self.notifier)
        await self.scheduler.start()
        yield
        await self.scheduler.stop()
        await self.notifier.close()
        self.store.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the token, and let nothing leave but our own answers."""
        try:
            request["client"] = self._client(request)
            answer = await handler(request)
        except web.HTTPUnauthorized:
            answer = _answer("unauthorized", 401)
            answer.headers["WWW-Authenticate"] = "Bearer"
        except web.HTTPException as error:
            # The original knows one answer for all that it does not serve.
            answer = _answer("not_found", 404) if error.status in (404, 405) else error
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            log.exception("%s %s", request.method, request.path)
            answer = _answer("error", 500)
        self._answers[answer.status] += 1
        return answer

    def _client(self, request: web.Request) -> str:
        if not self._tokens:
            return request.remote or "unknown"
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = request.headers.get("X-API-KEY", "")  # as Jobe's clients send it
        name = self._tokens.get(_digest(token))
        if name is None and request.path not in _OPEN:
            raise web.HTTPUnauthorized
        return name or "anonymous"

    async def _post(self, request: web.Request) -> web.StreamResponse:
        client: str = request["client"]
        try:
            self.scheduler.check_room(client)
        except QueueFullError:
            return _answer("busy", 500)
        except QuotaError:
            return _answer("busy", 429, reason="this client has too many tasks")
        if self._uploads[client] >= self.settings.uploads_per_client:
            return _answer("busy", 429, reason="this client has too many uploads under way")
        self._uploads[client] += 1
        try:
            return await self._accept(request, client)
        finally:
            self._uploads[client] -= 1

    async def _accept(self, request: web.Request, client: str) -> web.StreamResponse:
        identifier = secrets.token_urlsafe(12)
        archive = self.scheduler.archive(identifier)
        kept = False
        try:
            async with asyncio.timeout(self.settings.upload_seconds):
                fields = await receive(request, archive, self.settings.upload_size)
            self.scheduler.submit(self._make(identifier, client, fields))
            kept = True
        except BadUploadError as error:
            return _answer("bad_request", 400, reason=str(error))
        except TimeoutError:
            return _answer("bad_request", 408, reason="the upload took too long")
        except QueueFullError:
            return _answer("busy", 500)
        except QuotaError:
            return _answer("busy", 429, reason="this client has too many tasks")
        except ConnectionError:
            raise
        except (OSError, sqlite3.Error) as error:
            log.error("cannot keep an upload: %s", error)
            return _answer("error", 507, reason="the disk is full")
        finally:
            if not kept:
                archive.unlink(missing_ok=True)
        return _answer("ok", id=identifier)

    def _make(self, identifier: str, client: str, fields: Fields) -> Task:
        engine = fields.engine or self.settings.engine
        if engine not in self.engines:
            raise BadUploadError(f"no engine {engine}")
        image = fields.image or self.settings.image
        if image not in self.engines[engine].images():
            raise BadUploadError(f"no image {image}")
        format_ = fields.notify_format or self.settings.notify_format
        if format_ not in ("json", "form"):
            raise BadUploadError("notify_format is neither json nor form")
        return Task(
            id=identifier,
            client=client,
            state=QUEUED,
            image=image,
            engine=engine,
            notify=fields.notify or None,
            token=fields.token,
            format=format_,
            created=time.time(),
        )

    def _find(self, request: web.Request) -> Task:
        task = self.store.get(request.match_info["id"])
        if task is None or (self._tokens and task.client != request["client"]):
            raise web.HTTPNotFound
        return task

    async def _task(self, request: web.Request) -> web.StreamResponse:
        task = self._find(request)
        try:
            patience = float(request.query.get("wait", "0"))
        except ValueError:
            return _answer("bad_request", 400, reason="wait is no number")
        deadline = time.monotonic() + min(patience, _LONGEST_POLL)
        while task.state != DONE and (left := deadline - time.monotonic()) > 0:
            task = await self.scheduler.wait(task, left)
        return web.json_response(describe(task))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        task = self._find(request)
        stream = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await stream.prepare(request)
        with contextlib.suppress(ConnectionError):
            told = None
            while True:
                if task.state == told:
                    await stream.write(b": waiting\n\n")
                else:
                    data = json.dumps(describe(task))
                    await stream.write(f"event: {task.state}\ndata: {data}\n\n".encode())
                    told = task.state
                if task.state == DONE:
                    break
                task = await self.scheduler.wait(task, _KEEP_ALIVE)
        return stream

    async def _status(self, request: web.Request) -> web.StreamResponse:
        scheduler = self.scheduler
        return web.json_response(
            {
                "busy_instances": scheduler.busy,
                "total_instances": self.settings.instances,
                "loadavg": [f"{load:.2f}" for load in os.getloadavg()],
                "queued": scheduler.queued,
                "queue": self.settings.queue,
                "images": {name: engine.images() for name, engine in self.engines.items()},
                "engines": {name: engine.status() for name, engine in self.engines.items()},
            }
        )

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        scheduler = self.scheduler
        lines = [
            "# TYPE grader_instances gauge",
            f"grader_instances {self.settings.instances}",
            "# TYPE grader_instances_busy gauge",
            f"grader_instances_busy {scheduler.busy}",
            "# TYPE grader_tasks_queued gauge",
            f"grader_tasks_queued {scheduler.queued}",
            "# TYPE grader_tasks_total counter",
            *(
                f'grader_tasks_total{{outcome="{name}"}} {scheduler.counts[name]}'
                for name in ("accepted", "finished", "failed", "timeout")
            ),
            "# TYPE grader_notifications_total counter",
            *(
                f'grader_notifications_total{{outcome="{name}"}} {scheduler.counts[name]}'
                for name in ("notified", "abandoned")
            ),
            "# TYPE grader_task_seconds_total counter",
            *(
                f'grader_task_seconds_total{{kind="{kind}"}} {scheduler.seconds[kind]:.3f}'
                for kind in ("run", "cpu")
            ),
            "# TYPE grader_http_answers_total counter",
            *(
                f'grader_http_answers_total{{status="{status}"}} {count}'
                for status, count in sorted(self._answers.items())
            ),
        ]
        return web.Response(
            text="\n".join(lines) + "\n", headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    async def _openapi(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(openapi.document(secured=bool(self._tokens)))

    async def _docs(self, request: web.Request) -> web.StreamResponse:
        return web.Response(
            text=_page(openapi.document(secured=bool(self._tokens))), content_type="text/html"
        )


def describe(task: Task) -> dict[str, Any]:
    """A task as its client sees it."""
    shown: dict[str, Any] = {
        "id": task.id,
        "state": task.state,
        "image": task.image,
        "engine": task.engine,
        "created": task.created,
        "ended": task.ended,
        "notified": task.notified,
    }
    if task.result:
        shown |= task.result.asdict()
    return shown


def _answer(status: str, code: int = 200, **more: str) -> web.Response:
    return web.json_response({"status": status, **more}, status=code)


def _digest(token: str) -> bytes:
    # Looked up by digest, so that timing tells nothing of a token.
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _page(document: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{method.upper()} {html.escape(path)}</code></td>"
        f"<td>{html.escape(operation['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title = html.escape(document["info"]["title"])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        "<style>body{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto}"
        "td{padding:.3rem 1rem .3rem 0;vertical-align:top}</style>"
        f"<h1>{title}</h1><p>{html.escape(document['info']['description'])}</p>"
        f"<table>{''.join(rows)}</table><p><a href=openapi.json>openapi.json</a></p></html>"
    )
