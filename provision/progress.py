"""Progress as events: the code that works announces steps, the command line shows them."""

import contextlib
import contextvars
import logging
import time
from collections.abc import Iterator
from typing import Protocol

log = logging.getLogger(__name__)


class Reporter(Protocol):
    """What shows progress. Calls nest as the steps do; every method returns at once."""

    def start(self, title: str, depth: int) -> None:
        """A step began."""

    def advance(self, title: str, done: float, total: float | None) -> None:
        """A step is at ``done`` of ``total`` units (None: unknown)."""

    def finish(self, title: str, depth: int, seconds: float, *, failed: bool) -> None:
        """A step ended."""

    def note(self, message: str) -> None:
        """Something that the user should read, though nothing failed."""


class Silent:
    """A reporter for libraries and tests: shows nothing."""

    def start(self, title: str, depth: int) -> None:
        """Ignore."""

    def advance(self, title: str, done: float, total: float | None) -> None:
        """Ignore."""

    def finish(self, title: str, depth: int, seconds: float, *, failed: bool) -> None:
        """Ignore."""

    def note(self, message: str) -> None:
        """Ignore."""


_SILENT = Silent()
_reporter: contextvars.ContextVar[Reporter] = contextvars.ContextVar("reporter", default=_SILENT)
_steps: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("steps", default=())


@contextlib.contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Send the progress of this context to ``reporter``."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


class _Notes(Silent):
    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def note(self, message: str) -> None:
        self._reporter.note(message)


def only_notes() -> contextvars.Context:
    """A context to run another thread in: its notes are shown as here, its steps are not."""
    context = contextvars.copy_context()
    context.run(_reporter.set, _Notes(_reporter.get()))
    return context


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Announce one piece of work; steps inside it are shown below it, each timed."""
    reporter, outer = _reporter.get(), _steps.get()
    token = _steps.set((*outer, title))
    log.info("%s", title)
    reporter.start(title, len(outer))
    begun, failed = time.monotonic(), True
    try:
        yield
        failed = False
    finally:
        seconds = time.monotonic() - begun
        _steps.reset(token)
        log.info("%s: %s after %.1f s", title, "failed" if failed else "done", seconds)
        reporter.finish(title, len(outer), seconds, failed=failed)


def advance(done: float, total: float | None = None) -> None:
    """Tell how far the innermost step is, in any unit."""
    steps = _steps.get()
    if steps:
        _reporter.get().advance(steps[-1], done, total)


def note(message: str) -> None:
    """Tell the user something that no step's result says."""
    log.warning("%s", message)
    _reporter.get().note(message)
