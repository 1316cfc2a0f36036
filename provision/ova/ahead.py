"""Compress a disk while it is being written: the compression needs every core, its making only one.

Nothing of it is believed later: what was compressed too early does not unpack to what is wanted
(`vmdk.write`), and is compressed again.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provision.ova import vmdk

LOOK_SECONDS = 0.25
MOST_BYTES = 256 << 20  # kept in memory


class Ahead:
    """The grains of disks that were compressed while something else wrote them."""

    def __init__(self) -> None:
        self._grains: dict[str, dict[int, dict[int, memoryview]]] = {}
        self._bytes = 0

    def grains(self, name: str) -> vmdk.Known:
        """The grains of a disk.

        Args:
            name: of the raw image's file.
        """
        tables = self._grains.get(name, {})
        return lambda table: tables.get(table, {})

    @contextlib.contextmanager
    def following(self, raw: Path) -> Iterator[None]:
        """Compress, on one core, what a raw image has so far, while the context lasts.

        Args:
            raw: the image; it need not be there yet.
        """
        over = threading.Event()
        thread = threading.Thread(target=self._follow, args=(raw, over))
        if (os.cpu_count() or 1) > 1:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.ident:
                thread.join()

    def _follow(self, raw: Path, over: threading.Event) -> None:
        done = self._grains[raw.name] = {}
        before: Mapping[int, tuple[int, ...]] = {}
        while not over.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError), raw.open("rb", buffering=0) as file:
                now = dict(vmdk.touched_tables(file.fileno(), raw.stat().st_size))
                for table, grains in now.items():
                    # The end of what has been written moves on; what it has left behind stays.
                    stays = grains == before.get(table) and table not in done
                    if stays and self._bytes < MOST_BYTES and not over.is_set():
                        done[table] = self._compress(file.fileno(), grains, over)
                before = now

    def _compress(
        self, descriptor: int, grains: Sequence[int], over: threading.Event
    ) -> dict[int, memoryview]:
        found = {}
        for number in grains:
            grain = os.pread(descriptor, vmdk.GRAIN, number * vmdk.GRAIN)
            if over.is_set() or not grain:
                break
            if not vmdk.is_empty(grain):
                packed = vmdk.pack(grain)
                found[number % vmdk.TABLE_ENTRIES] = memoryview(packed)
                self._bytes += len(packed)
        return found
