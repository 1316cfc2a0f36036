"""The module that writes all files of a role at once."""

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def write(call: Any) -> Any:
    """Run the module; its result."""
    me = {"owner": str(os.getuid()), "group": str(os.getgid())}

    def run(*files: dict[str, str], **options: bool) -> Any:
        told = {f"_ansible_{name}": value for name, value in options.items()}
        return call("files", {"files": [{**me, **file} for file in files], **told})

    return run


def changed(result: dict[str, Any]) -> list[bool]:
    return [each["changed"] for each in result["results"]]


def test_files_and_the_way_to_them_are_made_once(write: Any, tmp_path: Path) -> None:
    file, tool, room = tmp_path / "a/b/file", tmp_path / "tool", tmp_path / "room"
    wanted = (
        {"path": str(file), "content": "text\n"},
        {"path": str(tool), "content": "#!/bin/sh\n", "mode": "0755"},
        {"path": str(room), "state": "directory", "mode": "0700"},
    )
    assert changed(write(*wanted)) == [True, True, True]
    assert file.read_text() == "text\n"
    modes = {path: path.stat().st_mode & 0o777 for path in (file, file.parent, tool, room)}
    assert modes == {file: 0o644, file.parent: 0o755, tool: 0o755, room: 0o700}
    again = write(*wanted)
    assert (again["changed"], changed(again)) == (False, [False, False, False])


def test_only_what_differs_is_changed(write: Any, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("same", "text", "mode", "link")]
    wanted = [{"path": str(path), "content": "x"} for path in paths]
    write(*wanted)
    paths[1].write_text("y")
    paths[2].chmod(0o600)
    paths[3].unlink()
    paths[3].symlink_to("same")
    assert changed(write(*wanted)) == [False, True, True, True]
    assert [(path.read_text(), path.is_symlink()) for path in paths] == [("x", False)] * 4
    assert paths[2].stat().st_mode & 0o777 == 0o644


def test_a_trial_tells_and_writes_nothing(write: Any, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "sub/new"
    old.write_text("before")
    wanted = [{"path": str(path), "content": "after"} for path in (old, new)]
    told = write(*wanted, check_mode=True, diff=True)
    assert changed(told) == [True, True]
    assert [each["diff"]["before"] for each in told["results"]] == ["before", ""]
    assert (old.read_text(), new.parent.exists()) == ("before", False)


def test_what_cannot_be_written_is_named(write: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    told = write({"path": str(tmp_path / "file/below"), "content": "x"})
    assert told["failed"]
    assert told["msg"].startswith(f"{tmp_path}/file/below: ")
    left = write({"path": str(tmp_path), "content": "x"})
    assert left["msg"] == f"{tmp_path}: Is a directory"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
