from typing import Any

import pytest

from provision.config import Config
from provision.config.records import with_sessions


@pytest.mark.parametrize(
    ("given", "host", "guest", "public"),
    [
        ({}, 8443, 8443, False),
        ({"network": {"forwards": {"notebook": {"host": 9000}}}}, 9443, 8443, False),
        ({"network": {"forwards": {"notebook": {"public": True}}}}, 8443, 8443, True),
        ({"notebook": {"sessions_port": 8001}}, 8001, 8001, False),
    ],
)
def test_the_sessions_follow_the_notebook(
    given: dict[str, Any], host: int, guest: int, public: bool
) -> None:
    forward = Config.model_validate(given).network.forwards["sessions"]
    assert (forward.host, forward.guest, forward.public) == (host, guest, public)


def test_without_the_notebooks_there_is_no_forward_to_sessions() -> None:
    forwards = {"notebook": None}
    config = Config.model_validate({"network": {"forwards": forwards}})
    assert set(config.network.forwards) == {"ssh"}


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {"network": 3},
        {"network": {"forwards": [1]}},
        {"network": {"forwards": {"notebook": 8000}}},
        {"network": {"forwards": {"notebook": {"host": "x"}}}},
        {"notebook": {"sessions_port": "x"}},
    ],
)
def test_what_cannot_be_understood_is_left_for_the_check(wrong: Any) -> None:
    assert with_sessions(wrong) == wrong
