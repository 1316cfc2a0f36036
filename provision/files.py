"""Write a file whole or not at all."""

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = True) -> None:
    """Write a file; a full disk, a kill or a power cut leaves what was there before.

    Args:
        path: the file.
        data: all of it.
        mode: its permissions, from the first byte on.
        replace: take the place of one that is there.

    Raises:
        FileExistsError: it is there, and not to be replaced.
        OSError: there is no room, or no right.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            draft.chmod(mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
