"""The command line, called in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.cli import main


@dataclass(frozen=True)
class Outcome:
    """What a user sees of one call."""

    code: int
    out: str
    err: str


Appliance = Callable[..., Outcome]


@pytest.fixture
def appliance(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Appliance:
    """Call ``appliance ARGUMENTS…`` in an empty directory, without a terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("APPLIANCE_CONFIG", raising=False)

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        shown = capsys.readouterr()
        code = ended.value.code
        return Outcome(code if isinstance(code, int) else 0, shown.out, shown.err)

    return call
