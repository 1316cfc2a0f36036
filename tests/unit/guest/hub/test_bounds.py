"""What is logged of a request."""

import logging

import pytest

from provision.guest.hub.bounds import LINE, one_line


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("plain %s", "Größe"), "plain Größe"),
        (("said %s", "a\nb\r\x1b[2K"), "said a\\nb\\r\\x1b[2K"),
        (("%s", "x\u2028y\x85z"), "x\\u2028y\\x85z"),
        (("%s", "y" * 9000), "y" * LINE + "…"),
    ],
)
def test_a_message_is_a_line(words: tuple[str, ...], shown: str) -> None:
    record = logging.LogRecord("hub", logging.INFO, "", 1, words[0], words[1:], None)
    assert one_line(record)
    assert record.getMessage() == shown


def test_a_wrong_call_is_logging_s_own() -> None:
    assert one_line(logging.LogRecord("hub", logging.INFO, "", 1, "%d", ("no number",), None))
