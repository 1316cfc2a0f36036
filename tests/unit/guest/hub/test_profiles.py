from pathlib import Path

import pytest

from provision.guest.hub.profiles import arguments, choose, form

PROFILES = {"any": {"title": "All & more"}, "stats": {"title": "R"}}


def test_the_first_is_chosen_unless_told_otherwise() -> None:
    assert choose(PROFILES, {}) == "any"
    assert choose(PROFILES, {"profile": ["stats"]}) == "stats"
    assert choose({}, {}) == ""
    with pytest.raises(ValueError, match="no profile 'x'"):
        choose(PROFILES, {"profile": "x"})


def test_the_form_is_html_and_has_one_mark() -> None:
    assert form({}) == ""
    assert form(PROFILES).count(" checked") == 1
    assert "All &amp; more" in form(PROFILES)


def test_only_the_kernels_of_a_profile_are_left(tmp_path: Path) -> None:
    for name in ("sagemath", "sagemath-10.8", "ir", "bash"):
        (tmp_path / name).mkdir()
    words = arguments(["sagemath", "ir"], tmp_path)
    assert [word.partition("=")[2] for word in words] == ["ir", "sagemath", "sagemath-10.8"]
    assert arguments([], tmp_path) == []
