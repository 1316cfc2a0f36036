"""What a tree of files is, to compare two of them."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any


def tree(root: Path) -> dict[str, tuple[Any, ...]]:
    """All files: kind, mode, owners, size, what links say; capabilities; digests of the small."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory, below, files in os.walk(root):
        for name in (*below, *files):
            path = Path(directory) / name
            status = path.lstat()
            if stat.S_ISSOCK(status.st_mode):
                continue
            plain = stat.S_ISREG(status.st_mode)
            target = str(path.readlink()) if path.is_symlink() else ""
            digest = ""
            if plain and status.st_size < 4096:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            power = b""
            if "security.capability" in os.listxattr(path, follow_symlinks=False):
                power = os.getxattr(path, "security.capability")
            size = status.st_size if plain else 0
            owner = (status.st_uid, status.st_gid)
            found[str(path.relative_to(root))] = (
                *(status.st_mode, owner, size, target, digest, power),
            )
    return found
