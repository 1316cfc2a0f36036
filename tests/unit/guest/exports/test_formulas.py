import pytest

from provision.guest.exports.formulas import split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("no formula", [("no formula", None)]),
        ("a $x^2$ b", [("a ", None), ("x^2", False), (" b", None)]),
        ("$$\\int\n x$$", [("\\int\n x", True)]),
        ("\\(a\\) and \\[b\\]", [("a", False), (" and ", None), ("b", True)]),
        ("\\begin{align*}a&=b\\end{align*}", [("\\begin{align*}a&=b\\end{align*}", True)]),
        ("it costs $5 and $6", [("it costs $5 and $6", None)]),
        ("it costs \\$5, $x$", [("it costs \\$5, ", None), ("x", False)]),
        ("", []),
    ],
)
def test_formulas_are_found_where_a_page_has_them(
    text: str, parts: list[tuple[str, bool | None]]
) -> None:
    assert list(split(text)) == parts
