"""What is remembered of builds survives two of them at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from provision.build.build import _remember


def test_builds_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    known = tmp_path / "last.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: _remember(known, {str(number): number}), range(100)))
    assert json.loads(known.read_text()) == {str(number): number for number in range(100)}
