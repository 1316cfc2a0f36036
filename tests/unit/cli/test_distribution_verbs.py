"""The verbs of distribution, as far as they need no VirtualBox."""

import json

import pytest


@pytest.mark.parametrize("verb", ["publish", "pull", "clone", "reset", "classroom", "bundle"])
def test_each_explains_itself(appliance, verb):
    shown = appliance(verb, "--help")
    assert shown.code == 0
    assert shown.out.startswith("Usage: ")


def test_status_of_a_folder(appliance, tmp_path):
    (tmp_path / "channels").mkdir()
    (tmp_path / "seats").mkdir()
    report = {"name": "left", "state": "ready", "version": "1.0-ab\x1b[2J"}
    (tmp_path / "seats/left.json").write_text(json.dumps(report))
    shown = appliance("classroom", "status", str(tmp_path))
    assert (shown.code, shown.out.split()[:2]) == (0, ["left", "ready"])
    assert "\x1b" not in shown.out
    assert json.loads(appliance("classroom", "status", str(tmp_path), "--json").out)[0]["age"] >= 0


def test_a_folder_that_is_none_is_named(appliance, tmp_path):
    shown = appliance("classroom", "status", str(tmp_path))
    assert (shown.code, "no published folder" in shown.err) == (2, True)


def test_what_may_not_be_put_together_is_said(appliance, tmp_path):
    for more in (("--promote", "1.0-a"), ("--ova",)):
        shown = appliance("publish", str(tmp_path), "--renew", *more)
        assert (shown.code, "--renew changes no version" in shown.err) == (2, True)


def test_a_url_with_a_password_is_shown_without_it(appliance):
    for place in ("ftp://me:SECRET@x/", "http://me:SECRET@x:port/", "http://me:SEC/RET@x"):
        for words in (("pull", place), ("classroom", "status", place)):
            shown = appliance(*words)
            assert shown.code == 2
            assert "SEC" not in shown.err + shown.out
            assert "no http or https URL" in shown.err
