from pathlib import Path

import pytest

from provision.fleet.inside import renew_sage


def test_the_current_versions_nursery_starts_and_no_other_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    template, wanted = tmp_path / "nursery@.service", tmp_path / "wants"
    wanted.mkdir()
    for unit in ("nursery@sage-1.service", "nursery@notebook.service"):
        (wanted / unit).symlink_to(template)
    monkeypatch.setattr(renew_sage, "NURSERY", template)
    monkeypatch.setattr(renew_sage, "WANTED", wanted)
    monkeypatch.setattr(renew_sage, "run", lambda *words, **_: asked.append(words))
    renew_sage.raise_nursery("2")
    assert [path.name for path in wanted.iterdir()] == ["nursery@notebook.service"]
    assert asked == []  # an appliance without
    template.touch()
    renew_sage.raise_nursery("2")
    assert [words[1] for words in asked] == ["enable", "start"]
    assert all("nursery@sage-2.service" in words for words in asked)
