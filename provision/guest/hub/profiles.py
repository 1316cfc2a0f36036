"""Profiles: what a student may choose when a session starts."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KERNELS = Path("/usr/local/share/jupyter/kernels")


def form(profiles: Mapping[str, Mapping[str, Any]]) -> str:
    """The choice as the inside of a form; the first is chosen unless told otherwise."""
    rows = [
        '<div class="form-check"><label class="form-check-label">'
        f'<input class="form-check-input" type="radio" name="profile" value="{html.escape(name)}"'
        f"{' checked' * (number == 0)}> {html.escape(profile['title'])}</label></div>"
        for number, (name, profile) in enumerate(profiles.items())
    ]
    return "\n".join(rows)


def choose(profiles: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """The profile that a student has chosen, else the first; empty where there are none.

    Args:
        profiles: by name.
        options: from the form, where each value is a list, or from the API.

    Raises:
        ValueError: there is no such profile.
    """
    wanted = options.get("profile") or next(iter(profiles), "")
    name = str(wanted[0] if isinstance(wanted, list) else wanted)
    if name and name not in profiles:
        raise ValueError(f"There is no profile {name!r}.")
    return name


def arguments(prefixes: Sequence[str], directory: Path = KERNELS) -> list[str]:
    """The server's options that leave only some kernels.

    Args:
        prefixes: of a profile: their names, or what these begin with; none: all.
        directory: where the kernels are.
    """
    there = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    return chosen_kernels(prefixes, there)


def chosen_kernels(prefixes: Sequence[str], there: Sequence[str]) -> list[str]:
    """As ``arguments``, of kernels whose names are known."""
    if not prefixes:
        return []
    names = [name for name in ("python3", *there) if _is_of(name, prefixes)]
    return [f"--KernelSpecManager.allowed_kernelspecs={name}" for name in dict.fromkeys(names)]


def _is_of(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}-") for prefix in prefixes)
