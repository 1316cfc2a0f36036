"""Time zones, locales and layouts are those of the guest, and what was meant is proposed."""

import pytest

from provision.config import words
from provision.config.model import Config

FINE = [
    *({"timezone": zone} for zone in ("UTC", "Europe/Berlin", "Pacific/Johnston", "Etc/GMT+5")),
    *({"locale": f"{name}.UTF-8"} for name in ("de_DE", "zh_CN", "fil_PH", "C")),
    *({"locale": name} for name in ("sr_RS.UTF-8@latin", "ca_ES.UTF-8@valencia")),
    *({"keyboard": layout} for layout in ("us", "de", "gb", "ara")),
    {"locale": "en_SE.UTF-8", "distribution": "ubuntu"},
]
WRONG = [
    ({"timezone": "US/Pacific"}, "an old name", "did you mean America/Los_Angeles?"),
    ({"timezone": "EST5EDT"}, "an old name", "did you mean America/New_York?"),
    ({"timezone": "Asia/Calcutta"}, "an old name", "did you mean Asia/Kolkata?"),
    ({"timezone": "GB"}, "an old name", "did you mean Europe/London?"),
    ({"timezone": "right/UTC"}, "no time zone", "did you mean Etc/UTC or UTC?"),
    ({"timezone": "posix/Europe/Berlin"}, "no time zone", "did you mean Europe/Berlin?"),
    ({"timezone": "xyzzy"}, "no time zone", "write one as in Europe/Berlin"),
    ({"timezone": "berlin"}, "no time zone", "did you mean Europe/Berlin?"),
    ({"locale": "en_DE.UTF-8"}, "no locale", "did you mean de_DE.UTF-8, en_US.UTF-8 or"),
    ({"locale": "en_SE.UTF-8"}, "no locale", "did you mean sv_SE.UTF-8"),
    ({"locale": "sr_RS.UTF-8@latim"}, "no locale", "sr_RS.UTF-8"),
    ({"keyboard": "uk"}, "no keyboard layout", "did you mean gb or ua?"),
    ({"keyboard": "xyzzy"}, "no keyboard layout", "write a country's code"),
]


@pytest.mark.parametrize("values", FINE, ids=str)
def test_what_the_guest_has_is_taken(values: dict[str, str]) -> None:
    assert list(words.check(Config.model_validate(values))) == []


@pytest.mark.parametrize(("values", "message", "mend"), WRONG, ids=lambda value: str(value)[:40])
def test_what_it_lacks_is_refused_with_what_was_meant(
    values: dict[str, str], message: str, mend: str
) -> None:
    (problem,) = words.check(Config.model_validate(values))
    assert problem.key == (next(iter(values)),)
    assert next(iter(values.values())) in problem.message
    assert message in problem.message
    assert mend in problem.mend
