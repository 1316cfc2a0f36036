"""Progress on stderr: a live line on a terminal, one plain line per step elsewhere."""

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console
from rich.live import Live
from rich.text import Text

from provision import progress


class TerminalReporter:
    """Shows steps as they run: finished ones stay, the running one carries its percentage."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._running: list[str] = []

    def start(self, title: str, depth: int) -> None:
        """Add a running step; start the live display with the first."""
        self._running.append(f"{'  ' * depth}{title} …")
        if depth == 0:
            self._live.start()
        self._draw()

    def advance(self, title: str, done: float, total: float | None) -> None:
        """Redraw the running step with its percentage or count."""
        share = f"{100 * done / total:3.0f} %" if total else f"{done:g}"
        self._draw(share)

    def finish(self, title: str, depth: int, seconds: float, *, failed: bool) -> None:
        """Print a finished step for good."""
        if self._running:
            self._running.pop()
        self._draw()
        mark = Text("✗ ", "red") if failed else Text("✓ ", "green")
        self._console.print(
            Text("  " * depth) + mark + Text(title) + Text(f"  {seconds:.1f} s", "dim")
        )
        if depth == 0:
            self._live.stop()

    def note(self, message: str) -> None:
        """Print a note above the running step."""
        self._console.print(Text("! ", "yellow") + Text(message))

    def _draw(self, suffix: str = "") -> None:
        self._live.update(Text("\n".join(self._running) + ("  " + suffix if suffix else "")))


class PlainReporter:
    """For pipes, logs and CI: a line when a step ends, none while it runs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def start(self, title: str, depth: int) -> None:
        """Print outer steps only; inner ones are printed when they end."""
        if depth == 0:
            self._write(f"{title} …")

    def advance(self, title: str, done: float, total: float | None) -> None:
        """Nothing: a log needs no percentages."""

    def finish(self, title: str, depth: int, seconds: float, *, failed: bool) -> None:
        """Print the step with its time."""
        self._write(f"{'  ' * depth}{'FAILED' if failed else 'ok'} {title} ({seconds:.1f} s)")

    def note(self, message: str) -> None:
        """Print the note."""
        self._write(f"! {message}")

    def _write(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


@contextlib.contextmanager
def session(*, verbose: bool) -> Iterator[None]:
    """Show the progress of one command on stderr; with ``verbose``, each host command too."""
    console = Console(stderr=True)
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(message)s")
        for noisy in ("paramiko", "markdown_it"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
    else:  # the reporter shows what matters; without a handler Python prints warnings itself
        logging.getLogger().addHandler(logging.NullHandler())
    plain = verbose or not console.is_terminal
    reporter = PlainReporter(console) if plain else TerminalReporter(console)
    with progress.reporting(reporter):
        yield
