"""Compress a disk while it is still being made: its maker works on one core, and others wait.

What comes of it is a guess at the finished disk; the OVA's writer checks each grain of it.
"""

import contextlib
import itertools
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.ova import vmdk

POLL_SECONDS = 0.3
ROOM_BYTES = 512 << 20


class Ahead:
    """The compressed grains of a raw image that grows.

    Args:
        raw: the image; it need not be there yet.
        room: how many bytes of memory they may take.
    """

    def __init__(self, raw: Path, room: int = ROOM_BYTES) -> None:
        self._raw = raw
        self._room = room
        self._tables: dict[int, dict[int, memoryview]] = {}
        self._finished = threading.Event()

    def known(self, table: int) -> Mapping[int, memoryview]:
        """Hand over the grains of one table, once."""
        return self._tables.pop(table, {})

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Compress what is written while the context lasts."""
        with ThreadPoolExecutor(1) as pool:
            work = pool.submit(self._follow)
            try:
                yield
            finally:
                self._finished.set()
        work.result()

    def _follow(self) -> None:
        """Take each table whose data have not grown since the last look: the maker is past it."""
        seen: dict[int, tuple[int, ...]] = {}
        while not self._finished.wait(POLL_SECONDS):
            if not self._raw.exists():
                continue
            with self._raw.open("rb", buffering=0) as file:
                size = self._raw.stat().st_size
                touched = itertools.groupby(
                    vmdk.touched_grains(file.fileno(), size),
                    lambda grain: grain // vmdk.TABLE_ENTRIES,
                )
                now = {index: tuple(grains) for index, grains in touched}
                for index, grains in now.items():
                    if index not in self._tables and seen.get(index) == grains:
                        self._tables[index] = self._compressed(file.fileno(), grains)
            seen = now

    def _compressed(self, descriptor: int, grains: tuple[int, ...]) -> dict[int, memoryview]:
        found = {}
        for number in grains:
            if self._finished.is_set() or self._room <= 0:
                break
            if grain := vmdk.grain(descriptor, number):
                packed = found[number % vmdk.TABLE_ENTRIES] = memoryview(vmdk.compress(grain))
                self._room -= len(packed)
        return found
