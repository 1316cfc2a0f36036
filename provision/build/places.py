"""Where the appliance keeps its files on this host, by the XDG base directories."""

import time
from pathlib import Path

import platformdirs

from provision.config import Config

APPLICATION = "appliance"


def cache() -> Path:
    """Finished stages and downloads: may be removed at any time, costs only time."""
    return Path(platformdirs.user_cache_dir(APPLICATION))


def state(name: str) -> Path:
    """What is remembered about one appliance between builds; made when missing."""
    path = Path(platformdirs.user_state_dir(APPLICATION)) / name
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def new_log(name: str) -> Path:
    """A file for the log of one run of one verb."""
    logs = state(name) / "logs"
    logs.mkdir(exist_ok=True)
    return logs / time.strftime("%Y%m%d-%H%M%S.log")


def admin_key(name: str) -> Path:
    """The admin's private key for an appliance whose configuration names no key; made once."""
    directory = Path(platformdirs.user_data_dir(APPLICATION)) / name
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = directory / "id_ed25519"
    if not key.exists():
        from provision.machine import keys

        keys.generate(key, comment=f"appliance-{name}")
    return key


def admin_public_keys(config: Config) -> tuple[str, ...]:
    """The public keys that let the admin in: the configured ones, or our own."""
    if config.admin.keys:
        return config.admin.keys
    public = admin_key(config.name).with_name("id_ed25519.pub")
    return (public.read_text().strip(),)
