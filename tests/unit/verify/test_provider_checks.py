"""What `verify` says of the school's own sign-in, judged on facts alone."""

import pytest

from provision.config import read
from provision.verify.registry import CheckRow, judge

GOOGLE = (
    "sign_in.google={client_id: a, domains: [school.example]}",
    "notebook.accounts=false",
)


def row(*assignments: str, **facts: object) -> CheckRow:
    config = read(assignments=assignments, environ={}).config
    (found,) = (r for r in judge(config, {"provider": facts}) if r.name == "providers-rules-kept")
    return found


def test_good_facts_pass() -> None:
    assert row(*GOOGLE, known=True, strangers=[]).result == "ok"
    assert row().result == "ok", "the appliance's own accounts have no provider"


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"known": False, "strangers": []}, "nobody of the school"),
        ({"known": True, "strangers": ["of another domain"]}, "who is of another domain"),
        ({"error": "no page"}, "no page"),
    ],
)
def test_a_broken_promise_is_named(facts: dict[str, object], told: str) -> None:
    found = row(*GOOGLE, **facts)
    assert found.result == "failed"
    assert told in found.detail
