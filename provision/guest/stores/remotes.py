"""The stores that a student has connected.

``~/.config/store`` (0700) holds ``rclone.conf`` (0600), which has the credentials and is rclone's
own, and for each store ``NAME.json`` with what the last synchronisation left.
"""

import configparser
import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


class StoreError(Exception):
    """What a student can mend; the message says how."""


@dataclass(frozen=True)
class ConnectedStore:
    """One connected store.

    Args:
        name: the student's name for it, and its folder in the home directory.
        home: the student's home directory.
        kind: drive, s3 or webdav.
        remote: the folder there, in rclone's words.
    """

    name: str
    home: Path
    kind: str
    remote: str

    @property
    def folder(self) -> Path:
        """Where its files are here."""
        return self.home / self.name

    @property
    def incoming(self) -> Path:
        """Where files wait until they are whole, beside the folder: the same file system."""
        return self.home / ".config" / "store" / f"{self.name}.incoming"

    @property
    def old(self) -> Path:
        """Where what a synchronisation replaced or removed here is kept."""
        return self.home / ".store-old" / self.name


class StudentStores:
    """The stores of one student.

    Args:
        home: the student's home directory.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.directory = home, home / ".config" / "store"
        self.config = self.directory / "rclone.conf"

    def names(self) -> list[str]:
        """The names of all stores."""
        return self._read().sections()

    def get(self, name: str) -> ConnectedStore:
        """One store.

        Raises:
            StoreError: there is none of that name.
        """
        found = self._read()
        if name not in found.sections():
            there = ", ".join(found.sections()) or "none yet"
            raise StoreError(f"{name} is not connected; connected: {there}")
        section = found[name]
        return ConnectedStore(
            name, self.home, section["type"], f"{name}:{section['appliance_folder']}"
        )

    def add(self, name: str, folder: str, settings: Mapping[str, str]) -> ConnectedStore:
        """Keep a new store's settings.

        Args:
            name: for the store.
            folder: there, with the bucket before it where there are buckets.
            settings: rclone's, credentials among them.

        Raises:
            StoreError: the name or the folder cannot be used, or is taken.
        """
        self.check(name)
        parts = folder.split("/")
        if not all(parts) or {".", ".."} & set(parts) or any(c in folder for c in "\n\r\0"):
            raise StoreError(f"{folder!r} is not the name of a folder")
        if (settings["type"] == "s3") > (len(parts) - 1):
            raise StoreError("give a folder below the bucket")
        if any("\n" in value for value in settings.values()):
            raise StoreError("a setting has more than one line")
        found = self._read()
        found[name] = {**settings, "appliance_folder": folder}
        self._write(found)
        return self.get(name)

    def check(self, name: str) -> None:
        """Make sure that a name may be given to a new store.

        Raises:
            StoreError: it may not.
        """
        if not NAME.fullmatch(name):
            raise StoreError(f"{name!r} is not a name: small letters, digits and -")
        if name in self.names():
            raise StoreError(f"{name} is connected already; first: store disconnect {name}")
        folder = self.home / name
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise StoreError(f"~/{name} is there and is not a folder; choose another name")

    def remove(self, name: str) -> None:
        """Forget a store and its credentials; the files stay, here and there."""
        self.get(name)
        found = self._read()
        found.remove_section(name)
        self._write(found)
        self.state_file(name).unlink(missing_ok=True)

    def state_file(self, name: str) -> Path:
        """What the last synchronisation left."""
        return self.directory / f"{name}.json"

    def state(self, name: str) -> dict[str, Any]:
        """``files``, as both sides had them, and ``last``: when, and what was wrong."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            found: dict[str, Any] = json.loads(self.state_file(name).read_text())
            return found
        return {"files": {}, "last": None}

    def keep(self, name: str, state: Mapping[str, Any]) -> None:
        """Replace what the last synchronisation left, as one."""
        self._replace(self.state_file(name), json.dumps(state))

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Let one synchronisation of a store happen at a time.

        Raises:
            StoreError: another is under way.
        """
        self._make()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.directory / f"{name}.lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StoreError(f"{name} is being synchronised already") from None
        finally:
            os.close(descriptor)

    def _read(self) -> configparser.RawConfigParser:
        found = configparser.RawConfigParser()
        found.read(self.config)
        return found

    def _write(self, found: configparser.RawConfigParser) -> None:
        lines = []
        for name in found.sections():
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in found[name].items()), ""]
        self._make()
        self._replace(self.config, "\n".join(lines))

    def _make(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)

    def _replace(self, path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a full disk is to be noticed before the old one is gone
        fresh.replace(path)
