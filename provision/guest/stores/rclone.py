"""Calls of rclone."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.guest.stores.remotes import StoreError

# rclone reads its options from the environment, too: whoever knows better sets others.
PATIENCE = {
    "RCLONE_CONTIMEOUT": "15s",
    "RCLONE_TIMEOUT": "60s",
    "RCLONE_RETRIES": "1",
    "RCLONE_LOW_LEVEL_RETRIES": "2",
    "RCLONE_TRANSFERS": "1",  # one that does not fit is gone before the next one is tried
    "RCLONE_CHECKERS": "4",
    "RCLONE_STATS": "0",
    "RCLONE_USE_SERVER_MODTIME": "true",
    "RCLONE_DRIVE_SKIP_GDOCS": "true",
}
LISTING_SECONDS, TRANSFER_SECONDS = 600, 3 * 3600
NO_SUCH_DIRECTORY = 3
SHOWN_LINES = 3
_DATE = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (ERROR *: |NOTICE: )?")


@dataclass(frozen=True)
class Rclone:
    """rclone with a student's own configuration.

    Args:
        config: its file.
    """

    config: Path

    def listing(self, remote: str) -> dict[str, list[Any]] | None:
        """The files below a folder: what tells one state of each from another, size first.

        Returns:
            By path; None when there is no such folder.

        Raises:
            StoreError: the store does not answer, or refuses.
        """
        words = ["lsjson", "--recursive", "--files-only", "--hash", "--no-mimetype", remote]
        done = self._run(words, LISTING_SECONDS)
        if done.returncode == NO_SUCH_DIRECTORY:
            return None
        if done.returncode:
            raise StoreError(_reason(done.stderr))
        return {
            each["Path"]: [each["Size"], each["ModTime"], each.get("Hashes", {}), each.get("ID")]
            for each in json.loads(done.stdout)
        }

    def copy(self, source: str, target: str, paths: Iterable[str], *options: str) -> str:
        """Copy some files; an empty word, or why not all of them could be."""
        return self._with_list(["copy", "--ignore-times", *options, source, target], paths)

    def move(self, source: str, target: str, paths: Iterable[str]) -> str:
        """Move some files; an empty word, or why not all of them could be."""
        return self._with_list(["move", source, target], paths)

    def obscure(self, password: str) -> str:
        """A password as rclone keeps it."""
        words = ["rclone", "obscure", "-"]
        done = subprocess.run(words, input=password, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _with_list(self, words: Sequence[str], paths: Iterable[str]) -> str:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as names:
            names.writelines(f"{path}\n" for path in paths)
            names.flush()
            options = ["--files-from-raw", names.name, "--no-traverse"]
            done = self._run([*words, *options], TRANSFER_SECONDS)
        return _reason(done.stderr) if done.returncode else ""

    def _run(self, words: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
        env = {**PATIENCE, **os.environ}
        argv = ["rclone", "--config", str(self.config), *words]
        try:
            return subprocess.run(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                timeout=seconds,
            )
        except FileNotFoundError:
            raise StoreError("this appliance has no stores; ask your teacher") from None
        except subprocess.TimeoutExpired:
            raise StoreError(
                f"the store did not finish within {seconds / 60:.0f} minutes"
            ) from None


def _reason(said: str) -> str:
    """The last lines of what rclone said, without dates."""
    lines = [_DATE.sub("", line) for line in said.strip().splitlines()]
    return " / ".join(lines[-SHOWN_LINES:]) or "rclone failed and did not say why"
