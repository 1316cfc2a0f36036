"""A provider or platform that does not answer: what is said of it, how long it is left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from tornado import web

LONG = 1.0  # seconds without an answer that nobody else is to wait
QUIET = 10.0  # seconds for which such a provider is not asked again
SILENT = "The school's sign-in does not answer. Please try again in a minute."


class Silence:
    """Remembers that a provider did not answer, so that the next click need not wait for it.

    One that refuses at once keeps nobody waiting, and is asked again.

    Args:
        of: the errors that say that it did not answer.
    """

    def __init__(self, *of: type[Exception]) -> None:
        self._of = of
        self._until = 0.0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask the provider.

        Raises:
            HTTPError: 503, it let somebody wait for nothing some seconds ago.
        """
        if (begun := monotonic()) < self._until:
            raise web.HTTPError(503, SILENT)
        try:
            yield
        except self._of:
            if monotonic() - begun > LONG:
                self._until = monotonic() + QUIET
            raise
