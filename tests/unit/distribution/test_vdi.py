"""The layout of an image, planned before the first byte of it is there."""

import uuid
from pathlib import Path

import pytest

from provision.distribution import vdi
from provision.distribution.vdi import BLOCK
from provision.errors import ApplianceError


def test_planned_layout_is_read_back(tmp_path: Path) -> None:
    layout = vdi.plan(12 << 30, [(0, 4096), (5 * BLOCK - 4096, 8192), (7 << 30, 100)])
    assert sorted(layout.places) == [0, 4, 5, 7 << 10]
    image = tmp_path / "disk.vdi"
    image.write_bytes(layout.header(uuid.uuid4()))
    assert vdi.read(image) == layout
    assert layout.length == layout.data + 4 * BLOCK


def test_spans_cross_blocks_that_lie_apart() -> None:
    layout = vdi.plan(8 * BLOCK, [(BLOCK, 1), (2 * BLOCK, 1)])
    spans = list(layout.spans(BLOCK - 10, 2 * BLOCK + 20))
    assert spans == [
        (None, 10),
        (layout.data, BLOCK),
        (layout.data + BLOCK, BLOCK),
        (None, 10),
    ]


@pytest.mark.parametrize("content", [b"", b"KDMV" * 200, bytes(1000)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "x.vdi"
    image.write_bytes(content)
    with pytest.raises(ApplianceError, match="VDI"):
        vdi.read(image)
