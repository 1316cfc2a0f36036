"""A list of wheels for further packages, from a real index, is what the configuration takes."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.build import wheels
from provision.cli import appliance
from provision.config import InvalidConfigError, read
from provision.config.wheels import pins
from provision.errors import ApplianceError


def lock(*words: str) -> str:
    done = CliRunner().invoke(appliance, ["lock", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("sage", [False, True])
def test_what_is_added_goes_with_what_was_tested(tmp_path: Path, sage: bool) -> None:
    place = tmp_path / "own.lock"
    section = "sage" if sage else "kernels.python"
    asked = [f"{section}.packages=[pandas, seaborn]"]
    if sage:
        asked.append('sage.version="10.8"')
    with pytest.raises(InvalidConfigError, match="seaborn"):
        read(assignments=asked, environ={})
    lock("pandas", "seaborn", *["--sage"] * sage, "-o", str(place))
    text = place.read_text()
    have, before = pins(text), pins(wheels.tested_list(sage=sage))
    assert "seaborn" in have
    assert {name: v for name, v in have.items() if before.get(name, v) != v} == {}
    assert text.startswith(wheels.tested_list(sage=sage)) is sage
    assert text.count("--hash=sha256:") >= len(have)
    config = read(assignments=[*asked, f"{section}.lock={place}"], environ={}).config
    assert (config.sage if sage else config.kernels.python).lock == place


def test_what_no_index_has_leaves_no_file(tmp_path: Path) -> None:
    place = tmp_path / "own.lock"
    done = CliRunner().invoke(appliance, ["lock", "numpy==0.0.99", "-o", str(place)])
    assert isinstance(done.exception, ApplianceError)
    assert "there are no wheels for Python 3.13 that go together" in str(done.exception)
    assert not place.exists()
