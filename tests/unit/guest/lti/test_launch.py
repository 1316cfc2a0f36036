"""What is believed of what a platform says, and what is not: each attack changes one thing."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from provision.guest.lti.keys import Known, usable
from provision.guest.lti.launch import LONGEST, LaunchError, key_id, own, plain, read
from provision.guest.lti.people import People, Person
from provision.guest.lti.platforms import find, read_platforms
from provision.guest.pool.certificate import checked
from tests.integration.lti_platform import (
    LTI,
    PUPIL,
    TEACHER,
    Platform,
    jwk,
    key_pair,
    unsigned,
)

HUB = "https://hub.school.test:8000"
NONCE = "a-nonce"
THEIRS = Platform(4711, HUB)
COURSES = [{"context": "42", "course": "algebra"}]
OURS = read_platforms([THEIRS.settings(courses=COURSES)])[0]
STRANGER = key_pair()


def believed(token: str) -> Any:
    known = Known()
    known.take(THEIRS.published)
    return read(token, OURS, known.key(key_id(token)), NONCE, HUB)


def test_what_a_platform_says_of_a_teacher_and_of_a_pupil() -> None:
    emmy = believed(THEIRS.sign(THEIRS.claims("7", NONCE)))
    assert (emmy.sub, emmy.title, emmy.course) == ("7", "Emmy Noether", "algebra")
    assert (emmy.teaches, emmy.learns) == (True, False)
    assert emmy.roster == f"{THEIRS.issuer}/members"
    assert emmy.grades["lineitems"] == f"{THEIRS.issuer}/columns?type=1"
    carl = believed(THEIRS.sign(THEIRS.claims("9", NONCE)))
    assert (carl.teaches, carl.learns) == (False, True)


@pytest.mark.parametrize("off", [-55, 0, 50])
def test_clocks_may_differ_by_a_little(off: int) -> None:
    now = int(time.time()) + off
    assert believed(THEIRS.sign(THEIRS.claims("7", NONCE, iat=now, exp=now + 1)))


def test_several_audiences_with_ours_as_the_authorized_party() -> None:
    told = THEIRS.claims("7", NONCE, aud=["notebook", "other"], azp="notebook")
    assert believed(THEIRS.sign(told)).sub == "7"


def _now(seconds: float) -> int:
    return int(time.time() + seconds)


CLAIMS: dict[str, Callable[[], dict[str, Any]]] = {
    "expired": lambda: {"exp": _now(-70)},
    "not yet valid": lambda: {"iat": _now(70)},
    "not before": lambda: {"nbf": _now(70)},
    "made long ago": lambda: {"iat": _now(-700)},
    "made at no time": lambda: {"iat": "yesterday"},
    "made in eternity": lambda: {"iat": float("inf")},
    "ends at no time": lambda: {"exp": [1]},
    "another issuer": lambda: {"iss": "https://elsewhere.test"},
    "the issuer with a slash": lambda: {"iss": f"{THEIRS.issuer}/"},
    "another audience": lambda: {"aud": "other"},
    "no audience": lambda: {"aud": []},
    "an audience that is none": lambda: {"aud": {"notebook": 1}},
    "several audiences, no authorized party": lambda: {"aud": ["notebook", "other"]},
    "several audiences, another party": lambda: {"aud": ["notebook", "other"], "azp": "other"},
    "another authorized party": lambda: {"azp": "other"},
    "another nonce": lambda: {"nonce": "another"},
    "a nonce that is none": lambda: {"nonce": [NONCE]},
    "another deployment": lambda: {f"{LTI}/deployment_id": "2"},
    "a deployment that is none": lambda: {f"{LTI}/deployment_id": ["1"]},
    "another version": lambda: {f"{LTI}/version": "1.1"},
    "another message": lambda: {f"{LTI}/message_type": "LtiSubmissionReviewRequest"},
    "nobody": lambda: {"sub": ""},
    "somebody of blanks": lambda: {"sub": " 7"},
    "a number": lambda: {"sub": 7},
    "too long a somebody": lambda: {"sub": "7" * 256},
    "roles that are none": lambda: {f"{LTI}/roles": TEACHER},
    "a link elsewhere": lambda: {f"{LTI}/target_link_uri": "https://elsewhere.test/hub/"},
    "a link without a name": lambda: {f"{LTI}/resource_link": {}},
    "a link that is none": lambda: {f"{LTI}/resource_link": "3"},
    **{
        f"without {name}": lambda name=name: {name: None}  # type: ignore[misc]
        for name in (
            *("iss", "aud", "exp", "iat", "nonce", "sub", f"{LTI}/roles", f"{LTI}/version"),
            *(f"{LTI}/message_type", f"{LTI}/deployment_id", f"{LTI}/target_link_uri"),
            f"{LTI}/resource_link",
        )
    },
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_what_is_not_believed_though_the_platform_has_signed_it(kind: str) -> None:
    token = THEIRS.sign(THEIRS.claims("7", NONCE, **CLAIMS[kind]()))
    with pytest.raises(LaunchError):
        believed(token)


def _public() -> bytes:
    return THEIRS.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _cut(token: str, part: int, text: str) -> str:
    parts = token.split(".")
    parts[part] = text
    return ".".join(parts)


def _hmac(key: bytes) -> Callable[[dict[str, Any]], str]:
    def make(claims: dict[str, Any]) -> str:
        token = unsigned(claims, {"alg": "HS256", "typ": "JWT", "kid": "key-1"})
        begun = token.rpartition(".")[0]
        mark = hmac.digest(key, begun.encode(), "sha256")
        return f"{begun}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"

    return make


TOKENS: dict[str, Callable[[dict[str, Any]], str]] = {
    "a stranger's signature": lambda claims: THEIRS.sign(claims, STRANGER),
    "a stranger's key by its name": lambda claims: THEIRS.sign(claims, STRANGER, kid="strange"),
    "a stranger's key in the header": lambda claims: THEIRS.sign(
        claims, STRANGER, jwk=jwk(STRANGER)
    ),
    "a stranger's keys at an address": lambda claims: THEIRS.sign(
        claims, STRANGER, jku="https://elsewhere.test/keys"
    ),
    "no algorithm": lambda claims: unsigned(claims, {"alg": "none", "kid": "key-1"}),
    "No algorithm": lambda claims: unsigned(claims, {"alg": "nOnE", "kid": "key-1"}),
    "no algorithm, but a signature": lambda claims: unsigned(
        claims, {"alg": "none", "kid": "key-1"}, b"x" * 256
    ),
    "the public key as a secret": _hmac(_public()),
    "the public key as a secret, as JSON": _hmac(json.dumps(THEIRS.published).encode()),
    "an empty secret": _hmac(b""),
    "another algorithm": lambda claims: THEIRS.sign(claims, alg="RS512"),
    "another padding": lambda claims: THEIRS.sign(claims, alg="PS256"),
    "another kind of key": lambda claims: jwt.encode(
        claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "key-1"}
    ),
    "no key's name": lambda claims: jwt.encode(claims, THEIRS.key, "RS256"),
    "a key's name that is none": lambda claims: unsigned(claims, {"alg": "RS256", "kid": ["x"]}),
    "something critical": lambda claims: THEIRS.sign(claims, crit=["exp"]),
    "cut off": lambda claims: THEIRS.sign(claims)[:-10],
    "no signature": lambda claims: _cut(THEIRS.sign(claims), 2, ""),
    "another content": lambda claims: _cut(
        THEIRS.sign(claims), 1, unsigned({**claims, "sub": "9"}, {}).split(".")[1]
    ),
    "no token": lambda claims: "x",
    "nothing": lambda claims: "",
    "dots": lambda claims: "..",
    "no JSON": lambda claims: _cut(THEIRS.sign(claims), 0, "e30x"),
    "a list": lambda claims: _cut(THEIRS.sign(claims), 0, "W10"),
    "too long": lambda claims: THEIRS.sign({**claims, "more": "x" * LONGEST}),
    "letters of another kind": lambda claims: "é.é.é",
}


@pytest.mark.parametrize("kind", TOKENS)
def test_what_the_platform_has_not_signed_so(kind: str) -> None:
    with pytest.raises(LaunchError):
        believed(TOKENS[kind](THEIRS.claims("7", NONCE)))


def test_roles_elsewhere_make_no_teacher() -> None:
    vocabulary = "http://purl.imsglobal.org/vocab/lis/v2"
    roles = [
        f"{vocabulary}/institution/person#Instructor",
        f"{vocabulary}/institution/person#Administrator",
        f"{vocabulary}/system/person#SysAdmin",
        f"{vocabulary}/membership/Instructor#TeachingAssistant",
        f"{vocabulary}/membership#Mentor",
        PUPIL,
    ]
    told = believed(THEIRS.sign(THEIRS.claims("7", NONCE, **{f"{LTI}/roles": roles})))
    assert (told.teaches, told.learns) == (False, True)


@pytest.mark.parametrize("claim", [None, {}, {"id": "43"}, {"id": 42}, "42", {"id": ["42"]}])
def test_another_context_is_no_course_of_ours(claim: object) -> None:
    told = believed(THEIRS.sign(THEIRS.claims("7", NONCE, **{f"{LTI}/context": claim})))
    assert told.course == ""


@pytest.mark.parametrize(
    "keys",
    [
        *([], {}, None, "x", {"keys": None}, {"keys": ["x", None, 1]}),
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "key-1", "alg": "RS256"}]},
        {"keys": [{"kty": "RSA", "kid": "key-1"}]},
        {"keys": [{"kty": "RSA", "kid": "key-1", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [jwk(THEIRS.key) | {"use": "enc"}]},
        {"keys": [jwk(THEIRS.key) | {"kid": None}]},
    ],
)
def test_keys_that_are_none(keys: object) -> None:
    assert usable(keys) == {}


def test_a_platform_is_not_asked_for_each_key_that_somebody_makes_up() -> None:
    known = Known()
    assert known.wanting("key-1")
    known.take(THEIRS.published)
    assert not known.wanting("key-1")
    assert not known.wanting("made up")


def test_which_platform_is_meant() -> None:
    both = read_platforms([THEIRS.settings(), THEIRS.settings(client_id="second")])
    assert find(both, THEIRS.issuer, "second") == both[1]
    assert find(both, THEIRS.issuer, "") is None  # it is not clear
    assert find(both[:1], THEIRS.issuer, "") == both[0]
    assert find(both, "https://elsewhere.test", "notebook") is None
    assert find(both, THEIRS.issuer, "third") is None


@pytest.mark.parametrize(
    "address",
    [
        *("https://elsewhere.test/hub/", "https://hub.school.test/hub/", "//elsewhere.test/"),
        *("http://hub.school.test:8000/hub/", "https://hub.school.test:8000@elsewhere.test/"),
        *("https://hub.school.test:8000\\@elsewhere.test/", "javascript:alert(1)", "", None, 5),
        *("https://hub.school.test:8000.elsewhere.test/", "https://[/", "/hub/lti/launch"),
    ],
)
def test_nobody_is_led_elsewhere(address: object) -> None:
    assert own(f"{HUB}/hub/lti/launch", HUB)
    assert not own(address, HUB)


def test_two_platforms_with_one_user_name_are_two_people() -> None:
    one, other = Person("https://a.test", "emmy"), Person("https://b.test", "emmy")
    assert one.name != other.name
    assert one.name == Person("https://a.test", "emmy", "Emmy").name  # by whatever name
    # Nor do parts of one id make another's.
    assert Person("https://a.test", "xemmy").name != Person("https://a.testx", "emmy").name


@pytest.mark.parametrize("sub", ["7", "../../etc", "a" * 255, "é\u202e", '","', "A", "a", "\x00"])
def test_names_can_name_directories_and_sessions(sub: str) -> None:
    assert checked(Person("https://a.test", sub).name).startswith("lti-")


def test_people_are_remembered_under_their_own_names_only(tmp_path: Any) -> None:
    path = tmp_path / "people.json"
    emmy = Person("https://a.test", "7", "Emmy Noether")
    People(path).keep([emmy])
    People(path).keep([Person("https://a.test", "7")])  # its name is kept secret this time
    assert People(path).all() == {emmy.name: emmy}
    assert People(path).title(emmy.name) == "Emmy Noether"
    assert People(path).title("carl") == "carl"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"lti-carl": told[emmy.name]}))
    assert list(People(path).all()) == [emmy.name]
    path.write_text("{")
    assert People(path).all() == {}


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Emmy  Noether", "Emmy Noether"),
        ("Emmy\u202eNoether\n", "Emmy Noether"),
        ("\x00\x1b[31m", "[31m"),
        ("x" * 500, "x" * 80),
        (None, ""),
        (["x"], ""),
        ("محمد", "محمد"),
    ],
)
def test_how_a_person_is_shown(told: object, shown: str) -> None:
    assert plain(told) == shown
