"""Where the appliance keeps its files on this host, by the XDG base directories."""

from pathlib import Path

import platformdirs

from provision.errors import HostNotReadyError

APPLICATION = "appliance"


def cache() -> Path:
    """Finished stages and downloads: may be removed at any time, costs only time."""
    return Path(platformdirs.user_cache_dir(APPLICATION))


def data(name: str = "") -> Path:
    """What belongs to this user's appliances, or to one of them; made when missing.

    Raises:
        HostNotReadyError: it cannot be written.
    """
    return writable(Path(platformdirs.user_data_dir(APPLICATION)) / name, "XDG_DATA_HOME")


def state(name: str = "") -> Path:
    """What is remembered of appliances, or of one of them, between runs; made when missing.

    Raises:
        HostNotReadyError: it cannot be written.
    """
    return writable(Path(platformdirs.user_state_dir(APPLICATION)) / name, "XDG_STATE_HOME")


def writable(path: Path, variable: str) -> Path:
    """A directory of this user's alone, made when missing, that takes a file.

    Args:
        path: the directory.
        variable: of the environment, that puts it somewhere else.

    Raises:
        HostNotReadyError: it cannot be made, or nothing can be written there.
    """
    probe = path / ".writable"
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"?")  # a full disk takes an empty file
        probe.unlink()
    except OSError as error:
        raise HostNotReadyError(
            f"cannot write in {path}: {error.strerror}",
            hint=f"set {variable} (or HOME) to a directory that you may write to and that has room",
        ) from error
    return path
