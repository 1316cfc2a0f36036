"""What the real ``strip`` makes of a library, for a lean Sage."""

import subprocess
from pathlib import Path

from provision.guest.sage import lean

# Three ranges of addresses: ``strip`` merges two of them, and when run again the third.
SOURCE = """
    .text
    ret
    .space 8192
    .macro note start, end
    .4byte 8, 16, 0x100
    .asciz "GA$\\0013a1"
    .8byte \\start, \\end
    .endm
    .section .gnu.build.attributes, "", @note
    note 0x1a00, 0x1e00
    note 0x1800, 0x1e00
    note 0x1c00, 0x2105
"""


def test_doing_it_again_changes_no_library(tmp_path: Path) -> None:
    library, once, again = (tmp_path / name for name in ("whole.so", "once.so", "again.so"))
    (tmp_path / "source.s").write_text(SOURCE)
    subprocess.run(
        ["gcc", "-shared", "-nostdlib", "-o", library, tmp_path / "source.s"], check=True
    )
    for before, after in ((library, once), (once, again)):
        subprocess.run(["strip", lean.WAYS[0], "-o", after, before], check=True)
    assert once.read_bytes() != again.read_bytes(), "strip alone settles it now"

    whole = library.stat().st_size
    lean.strip(library)
    stripped = library.read_bytes()
    lean.strip(library)
    assert library.read_bytes() == stripped
    assert len(stripped) < whole
