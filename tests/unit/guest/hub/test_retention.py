"""What rules of retention let go, by the clock; the audit's lines while somebody writes."""

import json
import logging
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

from provision.guest.hub import audit, retention
from provision.guest.pool import archives
from provision.guest.record import RetentionRecord

DAY = 86400
NOW = 1_700_000_000.0
KEEP_ALL = RetentionRecord(archives=0, audit=0)


def noted(days: float) -> str:
    then = time.strftime("%FT%TZ", time.gmtime(NOW - days * DAY))
    return json.dumps({"time": then, "who": "admin", "action": "add", "student": "emmy"})


def test_archives_go_by_the_time_in_their_names(tmp_path: Path) -> None:
    place = tmp_path / ".archive"
    place.mkdir()
    for days, end in ((9.9, "tar.gz"), (10.1, "tar.gz"), (400, "tree"), (400, "tar.part")):
        then = time.strftime("%Y%m%dT%H%M%S", time.gmtime(NOW - days * DAY))
        (place / f"emmy.10000.{then}.{end}").touch()
    (place / "emmy.10000.1.tar.gz").touch()  # somebody's own
    gone = retention.old(tmp_path, {**KEEP_ALL, "archives": 10 * DAY}, NOW)
    assert sorted(each.path.suffix for each in gone) == [".gz", ".tree"]
    assert list(retention.old(tmp_path, KEEP_ALL, NOW)) == []
    assert list(retention.old(tmp_path / "none", {**KEEP_ALL, "archives": DAY}, NOW)) == []


def test_parts_of_archives_that_were_cut_off_are_found(tmp_path: Path) -> None:
    place = tmp_path / ".archive"
    place.mkdir()
    for name, at in (("old.1.T.tar.part", 1), ("new.1.T.tar.part", 3), ("whole.1.T.tar.gz", 1)):
        (place / name).touch()
        os.utime(place / name, (at, at))
    assert [each.name for each in archives.cut_off(tmp_path, 2)] == ["old.1.T.tar.part"]
    assert list(archives.cut_off(tmp_path / "none", 2)) == []


def test_lines_go_up_to_the_first_that_is_kept() -> None:
    rules = {**KEEP_ALL, "audit": 10 * DAY}
    assert (
        retention.expired_count([noted(20), '{"time": "20', noted(9), "torn", noted(8)], rules, NOW)
        == 2
    )
    assert retention.expired_count([noted(20), noted(11)], rules, NOW) == 2
    assert retention.expired_count([noted(20)], KEEP_ALL, NOW) == 0
    assert retention.expired_count([], rules, NOW) == 0


def test_who_notes_while_lines_are_removed_loses_none(tmp_path: Path) -> None:
    handler = SimpleNamespace(
        current_user=SimpleNamespace(name="admin"), log=logging.getLogger("quiet")
    )
    handler.log.setLevel(logging.CRITICAL)

    def write(who: int) -> None:
        for number in range(50):
            audit.note(handler, tmp_path, "add", f"{who}-{number}")

    writers = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for each in writers:
        each.start()
    gone: list[str] = []

    def take(lines: list[str]) -> list[str]:
        gone.extend(lines[:3])
        return lines[3:]

    while any(each.is_alive() for each in writers):
        audit.rewrite(tmp_path, take)  # type: ignore[arg-type]
    assert len(gone) + len(audit.lines(tmp_path)) == 200
    assert len({json.loads(line)["student"] for line in [*gone, *audit.lines(tmp_path)]}) == 200
