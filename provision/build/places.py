"""Where a build keeps its files on this host."""

import time
from pathlib import Path

from provision.config import Config
from provision.places import APPLICATION, cache, data, state, writable

__all__ = ["APPLICATION", "admin_key", "admin_public_keys", "cache", "data", "new_log", "state"]


def new_log(name: str) -> Path:
    """A file for the log of one run of one verb."""
    logs = writable(state(name) / "logs", "XDG_STATE_HOME")
    return logs / time.strftime("%Y%m%d-%H%M%S.log")


def admin_key(name: str) -> Path:
    """The admin's private key for an appliance whose configuration names no key; made once.

    Raises:
        HostNotReadyError: it cannot be written.
    """
    key = data(name) / "id_ed25519"
    if not key.exists():
        from provision.machine import keys

        keys.generate(key, comment=f"appliance-{name}")
    return key


def admin_public_keys(config: Config) -> tuple[str, ...]:
    """The public keys that let the admin in: the configured ones, or our own.

    Raises:
        HostNotReadyError: our own cannot be read or written.
    """
    if config.admin.keys:
        return config.admin.keys
    from provision.machine import keys

    return (keys.public(admin_key(config.name)),)
