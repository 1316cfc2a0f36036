"""Lists of the notebook's packages: ours, and one with a server that has a hole."""

import re
from pathlib import Path

from provision import resources

OURS = resources.playbooks() / "roles/notebook/files/requirements.lock"
OLDER = "2.19.0", "cb76591b76d7093584c2ad2ae72ac3d58614a4b597507a1bb04e1f9f683cf9ea"


def older_list(file: Path) -> Path:
    """Our list, but for an older jupyter-server, in a file."""
    version, digest = OLDER
    text, count = re.subn(
        r"(?m)^jupyter-server==[^\n]*\n(?:    --hash[^\n]*\n)+",
        f"jupyter-server=={version} \\\n    --hash=sha256:{digest}\n",
        OURS.read_text(),
    )
    assert count == 1
    file.write_text(text)
    return file
