"""The log of a build is the whole story."""

import logging
from pathlib import Path

from provision.build.build import _logging_to


def test_it_has_what_virtualbox_was_told(tmp_path: Path) -> None:
    with _logging_to(tmp_path / "log"):
        for name in ("provision.process", "vbox.runner"):
            logging.getLogger(name).debug("$ command of %s", name)
    told = (tmp_path / "log").read_text()
    assert "$ command of provision.process" in told
    assert "$ command of vbox.runner" in told
