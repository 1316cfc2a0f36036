"""What the kernel tells of a cgroup."""

from pathlib import Path


def table(path: Path) -> dict[str, int]:
    """A file of names and numbers, such as ``memory.events``; empty where there is none."""
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return {key: int(value) for key, value in pairs}
    except (OSError, ValueError):
        return {}
