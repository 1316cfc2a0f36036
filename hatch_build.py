"""What only the build of the package knows: where it came from."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Links(MetadataHookInterface):
    """The project's addresses: $PROJECT_URL, else the web address of the clone's origin."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add them, where there are any."""
        url = os.environ.get("PROJECT_URL") or _origin(Path(self.root))
        if url:
            links = {"Homepage": url, "Issues": f"{url}/issues"}
            metadata["urls"] = {**links, "Documentation": f"{url}#read-on"}


def _origin(root: Path) -> str:
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = re.fullmatch(
        r"(?:https://(?:[^@/]*@)?|ssh://git@|git@)([^/:]+)[:/](.+?)(?:\.git)?/?", said
    )
    return f"https://{found[1]}/{found[2]}" if found else ""
