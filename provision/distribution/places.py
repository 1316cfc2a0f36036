"""Where distribution keeps its files on this host, by the XDG base directories."""

from pathlib import Path

import platformdirs

APPLICATION = "appliance"


def data() -> Path:
    """What belongs to this user's appliances; made when missing."""
    path = Path(platformdirs.user_data_dir(APPLICATION))
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def signing_key() -> Path:
    """This user's secret key for publishing, made on first use."""
    secret = data() / "signing.key"
    if not secret.exists():
        from provision.ova import minisign  # noqa: PLC0415 (only who publishes needs it)

        minisign.generate(secret)
    return secret


def spool(name: str) -> Path:
    """Chunks that an appliance shares with other seats while it pulls."""
    return Path(platformdirs.user_cache_dir(APPLICATION)) / "chunks" / name
