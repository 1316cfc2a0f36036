"""Where and how the stages of one build work."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from provision.build.request import Request

Runtime = Literal["nspawn", "qemu"]


@dataclass(frozen=True)
class Workshop:
    """What the work of every stage is given.

    Args:
        request: what is built.
        downloads: directory of packages that were downloaded before.
        log: the build's log file.
        runtime: what boots the guest for the playbooks.
        following: entered with a disk's path while it is written; what it does changes no result.
    """

    request: Request
    downloads: Path
    log: Path
    runtime: Runtime = "nspawn"
    following: Callable[[Path], contextlib.AbstractContextManager[object]] = contextlib.nullcontext

    @property
    def wheels(self) -> Path:
        """Directory of Pythons that earlier builds installed of wheels."""
        return self.downloads / "wheels"
