"""The cache of packages between guests that are built at the same time."""

from pathlib import Path

from provision.build.guest import linking


def test_two_guests_share_packages_and_no_lock(tmp_path: Path) -> None:
    (tmp_path / "old.deb").write_text("old")
    with linking(tmp_path) as one, linking(tmp_path) as other:
        assert one != other
        assert (one / "old.deb").read_text() == (other / "old.deb").read_text() == "old"
        (one / "lock").touch()
        assert not (other / "lock").exists()
        (one / "new.deb").write_text("new")
        (other / "new.deb").write_text("new")
        (one / "partial").mkdir()
        (one / "partial" / "half.deb").write_text("ha")
        (other / "old.deb").unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"old.deb", "new.deb"}


def test_what_a_failed_guest_downloaded_is_kept(tmp_path: Path) -> None:
    try:
        with linking(tmp_path) as own:
            (own / "new.deb").write_text("new")
            raise InterruptedError
    except InterruptedError:
        assert (tmp_path / "new.deb").read_text() == "new"


def test_what_a_guest_made_anew_takes_the_place_of_what_was_damaged(tmp_path: Path) -> None:
    place = tmp_path / "wheels"
    for content in ("damaged", "whole"):
        with linking(place, "*.tar.zst") as own:
            (own / "key.tar.zst").unlink(missing_ok=True)
            (own / "key.tar.zst").write_text(content)
            (own / "key.tar.part").write_text("half")
    assert {path.name: path.read_text() for path in place.iterdir()} == {"key.tar.zst": "whole"}
