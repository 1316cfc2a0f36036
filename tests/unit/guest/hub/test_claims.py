from typing import Any

import pytest

from provision.guest.hub.claims import endpoints, is_verified, refusal

ALLOWED = {"domains": ["school.test"], "groups": ["math"]}
EMMY = {"email": "Emmy@school.test", "email_verified": True, "groups": ["math"]}
PUBLISHED = {
    "issuer": "https://id.test",
    "authorization_endpoint": "https://id.test/authorize",
    "token_endpoint": "https://id.test/token",
    "userinfo_endpoint": "https://id.test/userinfo",
}


@pytest.mark.parametrize("claim", [True, "true", "True", " TRUE "])
def test_a_verified_address(claim: object) -> None:
    assert is_verified(claim)


@pytest.mark.parametrize(
    "claim", [False, None, "false", "False", "", "no", "1", "yes", 0, 1, [True], {"true": True}]
)
def test_everything_else_is_not_verified(claim: object) -> None:
    assert not is_verified(claim)
    assert refusal({**EMMY, "email_verified": claim}, ALLOWED, "groups").endswith("not verified")


def test_what_is_missing_is_not_verified() -> None:
    claims = {key: value for key, value in EMMY.items() if key != "email_verified"}
    assert refusal(claims, ALLOWED, "groups").endswith("not verified")


def test_who_is_of_domain_and_group_may_come_in() -> None:
    assert not refusal(EMMY, ALLOWED, "groups")
    assert not refusal(EMMY, {"domains": ["School.Test"], "groups": []}, "groups")
    assert not refusal({**EMMY, "groups": "math"}, ALLOWED, "groups")
    assert not refusal({}, {"domains": [], "groups": []}, "groups")


@pytest.mark.parametrize(
    "address",
    [
        *("emmy@elsewhere.test", "emmy@school.test@elsewhere.test", "emmy@school.test."),
        *("school.test@", "emmy@sub.school.test", "", None, 5, ["emmy@school.test"]),
    ],
)
def test_other_domains_may_not(address: object) -> None:
    assert "domain" in refusal({**EMMY, "email": address}, ALLOWED, "groups")


@pytest.mark.parametrize("groups", [[], None, "cooks", ["cooks"], 5, True, {"math": True}])
def test_other_groups_may_not(groups: object) -> None:
    assert "groups" in refusal({**EMMY, "groups": groups}, ALLOWED, "groups")


def test_a_name_that_is_an_address_must_be_verified_without_domains_too() -> None:
    everybody: dict[str, Any] = {"domains": [], "groups": []}
    claims = {"email": "emmy@school.test"}
    assert not refusal(claims, everybody, "groups")
    assert "verified" in refusal(claims, everybody, "groups", by_mail=True)


def test_a_provider_says_where_it_is_asked() -> None:
    found = endpoints(PUBLISHED, "https")
    assert found["authorize_url"] == "https://id.test/authorize"
    assert endpoints({**PUBLISHED, "token_endpoint": "http://id.test/t"}, "http")


@pytest.mark.parametrize("key", [key for key in PUBLISHED if key.endswith("_endpoint")])
@pytest.mark.parametrize(
    "value", [None, "", 5, [], "/token", "http://id.test/token", "javascript:alert(1)"]
)
def test_an_address_that_is_none_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        endpoints({**PUBLISHED, key: value}, "https")
    with pytest.raises(ValueError, match=key):
        endpoints({k: v for k, v in PUBLISHED.items() if k != key}, "https")


@pytest.mark.parametrize("published", [None, [], "text", 5])
def test_what_is_no_configuration_is_refused(published: object) -> None:
    with pytest.raises(ValueError, match="configuration"):
        endpoints(published, "https")
