"""Where distribution keeps its files on this host."""

from pathlib import Path

from provision.places import APPLICATION, cache, data

__all__ = ["APPLICATION", "data", "signing_key", "spool"]


def signing_key() -> Path:
    """This user's secret key for publishing, made on first use."""
    secret = data() / "signing.key"
    if not secret.exists():
        from provision.ova import minisign  # noqa: PLC0415 (only who publishes needs it)

        minisign.generate(secret)
    return secret


def spool(name: str) -> Path:
    """Chunks that an appliance shares with other seats while it pulls."""
    return cache() / "chunks" / name
