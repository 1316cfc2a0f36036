"""What a user sees when a configuration is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from provision.config import InvalidConfigError, read

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Load a text that must be refused, and give the drawn report; file names are bare."""

    def load(text: str | bytes, **options: object) -> str:
        path = tmp_path / "appliance.yml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InvalidConfigError) as caught:
            read(path, **({"environ": {}} | options))  # type: ignore[arg-type]
        assert caught.value.exit_code == 3
        return str(caught.value).replace(f"{tmp_path}/", "")

    return load
