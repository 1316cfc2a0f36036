"""``appliance init``."""

import errno
import os
import sys
from pathlib import Path

import pytest

from provision.config import Config, read


def test_writes_the_defaults_open_to_this_host_only(appliance, tmp_path):
    outcome = appliance("init")
    assert (outcome.code, outcome.out) == (0, "appliance.yml\n")
    assert read(tmp_path / "appliance.yml", environ={}).config == Config()
    assert outcome.err == (
        "! The notebook will be open to this host only. Edit appliance.yml, then: appliance build\n"
    )


def test_never_overwrites_without_force(appliance, tmp_path):
    (tmp_path / "appliance.yml").write_text("name: mine\n")
    outcome = appliance("init")
    assert outcome.code == 2
    assert "--force" in outcome.err
    assert (tmp_path / "appliance.yml").read_text() == "name: mine\n"
    assert appliance("init", "--force").code == 0
    assert read(tmp_path / "appliance.yml", environ={}).config == Config()


@pytest.mark.parametrize(("flag", "public"), [("--public", True), ("--local", False)])
def test_flags_answer_the_question(appliance, tmp_path, flag, public):
    assert appliance("init", flag, "class.yml").code == 0
    config = read(tmp_path / "class.yml", environ={}).config
    assert config.network.forwards["notebook"].public is public


@pytest.mark.parametrize(("answer", "public"), [("y\n", True), ("\n", False)])
def test_asks_on_a_terminal(appliance, tmp_path, monkeypatch, answer, public):
    asked = []

    def ask(text, default, err):
        asked.append(text)
        return answer == "y\n" or default

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", ask)
    outcome = appliance("init")
    assert outcome.out == "appliance.yml\n"
    assert "computers in the room" in asked[0]
    config = read(tmp_path / "appliance.yml", environ={}).config
    assert config.network.forwards["notebook"].public is public


def test_a_directory_gets_an_appliance_yml(appliance, tmp_path):
    (tmp_path / "class").mkdir()
    assert appliance("init", "class").out == "class/appliance.yml\n"


def test_a_directory_that_is_not_there(appliance):
    outcome = appliance("init", "no/appliance.yml")
    assert outcome.code == 2
    assert "no/appliance.yml: there is no directory" in outcome.err
    assert "mkdir -p" in outcome.err


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(appliance, tmp_path, monkeypatch):
    (tmp_path / "appliance.yml").write_text("name: mine\n")

    def full(path, *arguments, **options):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    outcome = appliance("init", "--force")
    assert outcome.code == 1
    assert "No space left on device" in outcome.err
    assert [file.name for file in tmp_path.iterdir()] == ["appliance.yml"]
    assert (tmp_path / "appliance.yml").read_text() == "name: mine\n"


def test_what_is_no_file_is_never_replaced(appliance, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    done = appliance("init", "fifo", "--force", "--local")
    assert done.code == 2
    assert "no ordinary file" in done.err
    assert (tmp_path / "fifo").is_fifo()


def test_a_link_stays_one(appliance, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "appliance.yml").symlink_to("mine/real.yml")
    assert appliance("init", "--local").code == 0
    assert (tmp_path / "appliance.yml").is_symlink()
    assert (tmp_path / "mine/real.yml").is_file()
