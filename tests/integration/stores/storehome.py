"""A student's home directory, where ``store`` runs."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


def host_environment() -> dict[str, str]:
    """The host's variables but those of its proxy and authorities, which loopback has none of."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("AWS_")
    }


@dataclass
class Home:
    """A student's home directory, where ``store`` runs.

    Args:
        path: the directory.
        env: of each call, besides the host's.
    """

    path: Path
    env: dict[str, str] = field(default_factory=dict)

    def store(self, *words: str, secrets: str = "") -> tuple[int, str]:
        """Run the command; its status, and all that it said."""
        with self.begin(*words) as process:
            said = process.communicate(secrets, timeout=300)[0]
            return process.returncode, said

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """Start the command."""
        return subprocess.Popen(
            [sys.executable, "-m", "provision.guest.stores", *words],
            env={**host_environment(), "HOME": str(self.path), **self.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
