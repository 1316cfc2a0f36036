"""The copy of the hub's database to which a power cut leads back: whole, and of this switch."""

import contextlib
import errno
import sqlite3
from pathlib import Path

import pytest

from provision.fleet.inside import journal, program, renew_notebook
from provision.fleet.inside.answers import State


def database(path: Path, form: str) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as made, made:
        made.execute("create table alembic_version (version_num)")
        made.execute("insert into alembic_version values (?)", (form,))
    return path


def test_a_copy_that_is_cut_off_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class PowerCutError(Exception):
        pass

    def cut(*_: object) -> None:
        raise PowerCutError

    source, copy = database(tmp_path / "now.sqlite", "b"), tmp_path / "copy.sqlite"
    database(copy, "a")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "chmod", cut)
        with pytest.raises(PowerCutError):
            renew_notebook.copy_database(source, copy)
    assert not copy.exists()
    renew_notebook.copy_database(source, copy)
    assert renew_notebook.form_of(copy) == "b"


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> journal.Journal:
    """A journal, two environments, and a copy in the form ``a`` of a database in ``b``."""
    for name in ("old", "new"):
        (tmp_path / "environments" / name).mkdir(parents=True)
    monkeypatch.setattr(renew_notebook, "STATE", tmp_path)
    monkeypatch.setattr(renew_notebook, "ENVIRONMENTS", tmp_path / "environments")
    monkeypatch.setattr(renew_notebook, "CURRENT", tmp_path / "current")
    monkeypatch.setattr(renew_notebook, "COPY", database(tmp_path / "copy.sqlite", "a"))
    monkeypatch.setattr(renew_notebook, "DATABASE", database(tmp_path / "hub.sqlite", "b"))
    own = journal.Journal(tmp_path, "unit")
    monkeypatch.setattr(renew_notebook, "JOURNAL", own)
    renewal = journal.Renewal(own, renew_notebook.current, renew_notebook.lead_back, tmp_path)
    monkeypatch.setattr(renew_notebook, "RENEWAL", renewal)
    for module in (journal, renew_notebook):
        monkeypatch.setattr(module, "later", lambda *_: None)
    return own


def test_an_earlier_switchs_copy_is_gone_before_the_next_is_noted(
    noted: journal.Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut between the two would bring back what the hub knew then."""

    def cut(*_: object) -> None:
        assert noted.state().step == "switching"
        renew_notebook.put_database_back()
        raise renew_notebook.RefusedError("the power is cut")

    monkeypatch.setattr(journal, "later", cut)
    noted.write(State("new", step="proven"))
    with pytest.raises(renew_notebook.RefusedError, match="the power is cut"):
        renew_notebook.switch("new", "60")
    assert renew_notebook.form_of(renew_notebook.DATABASE) == "b"


def test_a_way_back_without_power_is_gone_on_with_at_boot(
    noted: journal.Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its database is of the hub before already, and its environment is not."""
    monkeypatch.setattr(renew_notebook, "beneath", contextlib.nullcontext)
    monkeypatch.setattr(renew_notebook, "bring_own", lambda *_: None)
    shown: list[str] = []
    monkeypatch.setattr(renew_notebook, "show", shown.append)
    renew_notebook.link_to("new")
    noted.write(State("new", old="old", step="healthy"))

    def cut(_: str) -> None:
        renew_notebook.put_database_back()
        raise renew_notebook.RefusedError("the power is cut")

    monkeypatch.setattr(renew_notebook, "lead_back", cut)
    with pytest.raises(renew_notebook.RefusedError, match="the power is cut"):
        renew_notebook.undo()
    renew_notebook.boot()
    assert (shown, renew_notebook.current()) == (["old"], "old")
    assert renew_notebook.form_of(renew_notebook.DATABASE) == "a"


def test_what_is_shown_goes_before_another_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two, one upon the other, as an earlier version of ours has left them."""
    mounted, done = ["old", "older"], []

    def run(*words: str, **_: object) -> str:
        done.append(words[0])
        if words[0] == "umount":
            mounted.pop()
        return ""

    monkeypatch.setattr(renew_notebook, "run", run)
    monkeypatch.setattr(renew_notebook, "keep_in_sessions", lambda: done.append("keep"))
    shown = lambda _: mounted[-1] if mounted else renew_notebook.BUILDS  # noqa: E731
    monkeypatch.setattr(renew_notebook, "shown_in", shown)
    renew_notebook.show("new")
    assert done == ["keep", "umount", "umount", "mount"]


def test_what_is_in_use_is_not_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that cannot be moved aside has something mounted upon it."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old/file").touch()

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(OSError, match="busy"):
        program.remove(tmp_path / "old")
    assert (tmp_path / "old/file").exists()
