"""What a platform's courses bring and get: people, links, points; a real hub, root's own code."""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from provision.guest.assignments.desk import AbsentError
from provision.guest.assignments.errors import AssignmentError
from provision.guest.lti.people import Person
from provision.guest.pool.rolls import connections
from tests.integration.lti_platform import LTI, PUPIL, TEACHER, Platform, platform_keys
from tests.integration.signin.browser import Browser
from tests.integration.signin.lti_hub import Place, opened

GRADES = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
LINKS = "https://purl.imsglobal.org/spec/lti-dl/claim"


def until(true: Callable[[], object], why: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)


def name(platform: Platform, sub: str) -> str:
    return Person(platform.issuer, sub).name


def students(place: Place, teacher: str) -> list[str]:
    try:
        return list(place.asked("may", teacher, "algebra")["students"])
    except AbsentError:
        return []


def member(sub: str, role: str = PUPIL, **further: Any) -> dict[str, Any]:
    return {"user_id": sub, "roles": [role], "status": "Active", "name": f"N. {sub}", **further}


def test_who_comes_is_in_the_course_and_a_teacher_brings_the_roster(
    place: Place, moodle: Platform
) -> None:
    opened(moodle, Browser(), "9")
    assert {"karl", name(moodle, "9")} <= {*students(place, "hilbert")}
    moodle.members = [
        *(member("7", TEACHER), member("9"), member("10"), member("11", status="Inactive")),
        *(member("12", "http://purl.imsglobal.org/vocab/lis/v2/membership#Mentor"), member("13")),
    ]
    beside = {name(place.ilias, sub) for sub in ("9", "emmy")}  # of other tests

    def there() -> set[str]:
        return {*students(place, "hilbert")} - beside

    emmy = Browser()
    opened(moodle, emmy, "7")
    wanted = {"karl", *(name(moodle, sub) for sub in ("9", "10", "13"))}
    until(lambda: there() == wanted, place.log)
    assert {*students(place, name(moodle, "7"))} - beside == wanted
    assert 'data-teach="algebra"' in emmy.get(f"{place.url}/hub/assignments")[2]
    # Who leaves the course there leaves it here; who was written by hand stays.
    moodle.members = [member("7", TEACHER), member("10")]
    opened(moodle, Browser(), "7")
    wanted = {"karl", name(moodle, "10")}
    until(lambda: there() == wanted, place.log)
    # Another platform's people come beside.
    with place.ilias.serving() as ilias:
        opened(ilias, Browser(), "9")
    assert there() == wanted
    assert name(place.ilias, "9") in students(place, "hilbert")


def test_who_does_not_teach_there_does_not_teach_here(place: Place, moodle: Platform) -> None:
    carl = Browser()
    opened(moodle, carl, "9")
    assert "data-teach" not in carl.get(f"{place.url}/hub/assignments")[2]
    assert carl.get(f"{place.url}/hub/course?course=algebra")[0] == 404
    # Nor who taught: the platform says what somebody is now.
    moodle.members, log = [member("7", TEACHER)], len(place.log())
    opened(moodle, Browser(), "7")
    assert students(place, name(moodle, "7"))
    until(lambda: "algebra has 1 people" in place.log()[log:], place.log)
    opened(moodle, Browser(), "7", **{f"{LTI}/roles": [PUPIL]})
    assert not students(place, name(moodle, "7"))
    # A teacher of another course, or of the whole school.
    elsewhere = {f"{LTI}/context": {"id": "43"}}
    opened(moodle, Browser(), "20", **{f"{LTI}/roles": [TEACHER]}, **elsewhere)
    school = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator"
    opened(moodle, Browser(), "21", **{f"{LTI}/roles": [school]})
    for sub in ("20", "21"):
        assert not students(place, name(moodle, sub))


@pytest.mark.parametrize(
    ("course", "roll"),
    [
        *(("algebra", {"teachers": ["karl"]}), ("algebra", {"members": ["hilbert"]})),
        *(("algebra", {"teachers": ["lti-../x"]}), ("algebra", {"teachers": ["lti-A"]})),
        *(("secret", {"teachers": ["lti-a"]}), ("none", {"teachers": ["lti-a"]})),
        *(("../algebra", {"teachers": ["lti-a"]}), ("algebra", {"members": ["lti-a"] * 2})),
        ("algebra", {"members": [f"lti-{n}" for n in range(6000)]}),
    ],
    ids=lambda each: str(each)[:40],
)
def test_the_hub_cannot_make_anybody_else_a_teacher(
    place: Place, course: str, roll: dict[str, list[str]]
) -> None:
    """Root's service, whatever the hub asks."""
    known = connections(place.settings)
    source = next(each for each in known if known[each] == "algebra")
    before = place.asked("may", "hilbert", "algebra")
    told = json.dumps({**roll, "whole": False})
    if roll.get("members") == ["lti-a"] * 2:  # twice is once
        rolls = place.students / ".courses/rolls.json"
        kept = json.loads(rolls.read_text())["algebra"].get(source, {}) if rolls.exists() else {}
        place.asked("enroll", source, course, told)
        assert students(place, "hilbert").count("lti-a") == 1
        place.asked("enroll", source, course, json.dumps({**kept, "whole": True}))
    else:
        with pytest.raises((AssignmentError, ValueError)):
            place.asked("enroll", source, course, told)
    assert place.asked("may", "hilbert", "algebra") == before
    with pytest.raises(AbsentError):
        place.asked("may", "karl", "algebra")


@pytest.mark.parametrize("how", ["refused", "nonsense", "elsewhere", "empty"])
def test_a_roster_that_is_none_removes_nobody(place: Place, moodle: Platform, how: str) -> None:
    moodle.members, log = [member("7", TEACHER), member("10"), member("13")], len(place.log())
    opened(moodle, Browser(), "7")
    until(lambda: "algebra has 3 people" in place.log()[log:], place.log)
    there, log = students(place, "hilbert"), len(place.log())
    if how == "refused":
        moodle.status = 403
    elif how == "nonsense":
        moodle.members = {"a": "b"}  # type: ignore[assignment]
        moodle.page = 0
    elif how == "elsewhere":
        moodle.further = "http://127.0.0.2:9"
        moodle.members = [member("7", TEACHER)] * 5
    else:
        moodle.members = []
    opened(moodle, Browser(), "7")
    until(lambda: "lti: the roll of algebra" in place.log()[log:], place.log)
    assert students(place, "hilbert") == there


def choice(place: Place, moodle: Platform, browser: Browser, sub: str = "7", **further: Any) -> Any:
    """Begin to set a link up there: how it ended."""
    settings = {
        **{"deep_link_return_url": f"{moodle.issuer}/return", "data": "theirs"},
        **{"accept_types": ["ltiResourceLink"]},
        **{"accept_presentation_document_targets": ["window"]},
    }
    claims = {
        f"{LTI}/message_type": "LtiDeepLinkingRequest",
        f"{LTI}/resource_link": None,
        f"{LINKS}/deep_linking_settings": {**settings, **further},
    }
    return opened(moodle, browser, sub, **claims)


def fields(page: str) -> dict[str, str]:
    found = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert found, page
    return found


def test_a_teacher_sets_a_link_to_an_assignment_up(place: Place, moodle: Platform) -> None:
    moodle.members = [member("7", TEACHER), member("9")]
    opened(moodle, Browser(), "9")
    place.grade(name(moodle, "9"), 0, "2026-11-30T08:00:00+00:00", "Primes & more")
    emmy = Browser()
    status, _, page = choice(place, moodle, emmy)
    assert status == 200, page
    assert 'value="Primes &amp; more"' in page
    form = fields(page)
    stranger = Browser()
    opened(moodle, stranger, "9")
    theirs = fields(stranger.get(f"{place.url}/hub/assignments")[2]) | {"key": form["key"]}
    wanted = {"assignment": "Primes & more"}
    assert stranger.get(f"{place.url}/hub/lti/link", {**theirs, **wanted})[0] in (400, 403)
    assert emmy.get(f"{place.url}/hub/lti/link", {**form, "assignment": "none"})[0] == 404
    form = fields(choice(place, moodle, emmy)[2])
    status, _, page = emmy.get(f"{place.url}/hub/lti/link", {**form, **wanted})
    assert (status, f'action="{moodle.issuer}/return"' in page) == (200, True), page
    assert emmy.get(f"{place.url}/hub/lti/link", {**form, **wanted})[0] == 400  # once
    token = fields(page.replace('name="_xsrf"', ""))["JWT"]
    with platform_keys(place.url) as keys:
        key = keys[jwt.get_unverified_header(token)["kid"]]
    told = jwt.decode(token, key, algorithms=["RS256"], audience=moodle.issuer)
    assert (told["iss"], told[f"{LTI}/deployment_id"]) == ("notebook", "1")
    assert told[f"{LTI}/message_type"] == "LtiDeepLinkingResponse"
    assert told[f"{LINKS}/data"] == "theirs"
    (link,) = told[f"{LINKS}/content_items"]
    assert link["custom"] == wanted
    assert link["lineItem"]["resourceId"] == "Primes & more"
    # Whoever opens it is led there.
    custom = {f"{LTI}/custom": link["custom"]}
    address = opened(moodle, Browser(), "7", **custom)[1]
    assert address == f"{place.url}/hub/assignments?course=algebra&assignment=Primes+%26+more"
    assert opened(moodle, Browser(), "9", **custom)[1] == f"{place.url}/hub/assignments"


def test_who_sets_no_links_up(place: Place, moodle: Platform) -> None:
    assert choice(place, moodle, Browser(), "9")[0] == 403
    for address in ("", "javascript:alert(1)", "ftp://elsewhere.test/", None, 5):
        assert choice(place, moodle, Browser(), deep_link_return_url=address)[0] == 403, address
    assert choice(place, moodle, Browser(), accept_types=["file"])[0] == 400


def test_points_go_back_to_whom_they_are_of(place: Place, moodle: Platform) -> None:
    moodle.members = [member("7", TEACHER), member("9"), member("10")]
    opened(moodle, Browser(), "7")
    until(lambda: name(moodle, "10") in students(place, "hilbert"), place.log)
    with place.ilias.serving() as ilias:
        opened(
            ilias,
            Browser(),
            "9",
            **{"https://purl.imsglobal.org/spec/lti-ags/claim/endpoint": None},
        )
    first = "2026-11-30T08:00:00.000001+00:00"
    for student, score in ((name(moodle, "9"), 7), (name(ilias, "9"), 1), ("karl", 3)):
        place.grade(student, score, first)
    said = lambda: [each for column, each in moodle.scores if title(moodle, column) == "primes"]  # noqa: E731
    until(said, place.log)
    time.sleep(3)  # the hub looks each second here
    (score,) = said()
    assert score == {
        **{"userId": "9", "scoreGiven": 7, "scoreMaximum": 10, "timestamp": first},
        **{"activityProgress": "Completed", "gradingProgress": "FullyGraded"},
    }
    assert [c["label"] for c in moodle.columns].count("primes") == 1
    assert not ilias.scores
    # It is away: then it is told, once.
    moodle.status = 503
    place.grade(name(moodle, "9"), 8, "2026-11-30T09:00:00+00:00")
    place.grade(name(moodle, "10"), 9, "2026-11-30T09:00:01+00:00")
    until(lambda: "points wait" in place.log(), place.log)
    assert len(said()) == 1
    moodle.status = 0
    until(lambda: len(said()) == 3, place.log)
    assert {(each["userId"], each["scoreGiven"]) for each in said()[1:]} == {("9", 8), ("10", 9)}
    time.sleep(3)
    assert len(said()) == 3
    assert [c["label"] for c in moodle.columns].count("primes") == 1


def test_people_are_called_as_there_and_a_table_takes_no_name_for_a_formula(
    place: Place, moodle: Platform
) -> None:
    formula = "=1+1<b>&"
    moodle.members = [member("7", TEACHER), member("10"), {**member("13"), "name": formula}]
    teacher, log = Browser(), len(place.log())
    opened(moodle, teacher, "7")
    until(lambda: "algebra has 3 people" in place.log()[log:], place.log)
    first = "2026-11-30T07:00:00+00:00"
    place.grade(name(moodle, "10"), 5, first, "called")
    place.grade(name(moodle, "13"), 5, first, "called")
    pages = f"{place.url}/hub/assignments"
    table = teacher.get(f"{pages}/gradebook?course=algebra")[2].splitlines()
    assert table[0].endswith(",person")
    (ten,) = [line for line in table if line.startswith("called") and name(moodle, "10") in line]
    assert ten.endswith(",N. 10")
    (other,) = [line for line in table if line.startswith("called") and name(moodle, "13") in line]
    assert other.endswith(f",'{formula}")
    one = f"{pages}?course=algebra&assignment=called&student={name(moodle, '13')}"
    page = teacher.get(one)[2]
    assert "<h1>=1+1&lt;b&gt;&amp;: called</h1>" in page
    # In the bar each reads the own name.
    assert '<span class="me-1">N. 7</span>' in page


def test_a_column_of_the_platforms_own_gets_the_points_of_its_link(
    place: Place, moodle: Platform
) -> None:
    column = f"{moodle.issuer}/columns/99?type=2"
    told = {"lineitem": column, "scope": ["https://purl.imsglobal.org/spec/lti-ags/scope/score"]}
    moodle.members = [member("7", TEACHER), member("9")]
    custom = {f"{LTI}/custom": {"assignment": "groups"}, GRADES: told}
    opened(moodle, Browser(), "9", **custom)
    place.grade(name(moodle, "9"), 5, "2026-11-30T09:10:00+00:00", "groups")
    until(lambda: any(column.endswith(each) for each, _ in moodle.scores), place.log)
    assert "groups" not in [each["label"] for each in moodle.columns]


def test_a_refusal_keeps_nobody_elses_points(place: Place, moodle: Platform) -> None:
    moodle.members = [member("7", TEACHER), member("9"), member("10")]
    opened(moodle, Browser(), "7")
    until(lambda: name(moodle, "10") in students(place, "hilbert"), place.log)
    moodle.refused = {"9"}
    for sub in ("9", "10"):
        place.grade(name(moodle, sub), 4, "2026-11-30T09:20:00+00:00", "rings")
    until(lambda: [s for c, s in moodle.scores if title(moodle, c) == "rings"], place.log)
    assert [s["userId"] for c, s in moodle.scores if title(moodle, c) == "rings"] == ["10"]
    until(lambda: "refuses points" in place.log(), place.log)
    refused = [line for line in place.log().splitlines() if "refuses points" in line]
    time.sleep(3)
    assert [line for line in place.log().splitlines() if "refuses points" in line] == refused


def test_nobody_learns_of_points_but_the_own_platform(place: Place, moodle: Platform) -> None:
    """Root's service, whatever the hub asks."""
    opened(moodle, Browser(), "9")
    place.grade(name(moodle, "9"), 4, "2026-11-30T09:20:00+00:00", "fields")
    sources = json.loads((place.students / ".courses/rolls.json").read_text())["algebra"]
    (source,) = [each for each in sources if moodle.issuer in each]
    told = place.asked("returned", source, "algebra")["points"]
    assert {each["student"] for each in told} <= {*students(place, "hilbert")} - {"karl"}
    assert all(each["student"].startswith("lti-") for each in told)
    for wrong in (("another", "algebra"), (source, "secret")):
        with pytest.raises(AssignmentError, match="no platform has a course"):
            place.asked("returned", *wrong)
        with pytest.raises(AssignmentError, match="no platform has a course"):
            place.asked("enroll", *wrong, json.dumps({"teachers": ["lti-a"], "whole": False}))


def title(moodle: Platform, column: str) -> str:
    """Of a column, as the platform shows it."""
    path = urllib.parse.urlsplit(column).path
    found = [c["label"] for c in moodle.columns if urllib.parse.urlsplit(c["id"]).path == path]
    return found[0] if found else ""
