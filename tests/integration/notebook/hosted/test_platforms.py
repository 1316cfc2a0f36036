"""A learning platform at another origin, in a real browser, before all services of a real guest.

What forged tokens, slow platforms and odd rosters do is in tests/integration/signin.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from browser import picture, window
from handed import book, cell, write
from pages import accessible
from platforms import COURSE, SECONDS, School, connected, reloaded, started
from playwright.sync_api import Browser, Page, expect

from provision.fleet.inventory import Host, Inventory
from provision.fleet.person import erase
from tests.integration.lti_platform import LTI, platform_keys

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LINKS = "https://purl.imsglobal.org/spec/lti-dl/claim"


@pytest.fixture(scope="module")
def school(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    with connected(layers, tmp_path_factory.mktemp("platforms"), ["karl"], 2) as school:
        yield school


@pytest.fixture(scope="module")
def pupil(school: School, browser: Browser) -> Page:
    """Carl, who has opened the course inside the platform's page, as Moodle shows it at first."""
    page = window(browser)
    school.opened(page, "9", "inside", **{f"{LTI}/custom": {"open": "course"}})
    inside = page.frame_locator("iframe")
    expect(inside.locator("h1")).to_have_text("The notebook opens in a window of its own")
    picture(page, "platform-frame")
    accessible(page.frames[1])
    with page.context.expect_page() as opened:
        inside.get_by_role("button", name="Open in a new window").click()
    carl = opened.value
    carl.wait_for_url(f"{school.guest.url}/hub/assignments")
    # What has opened one window opens no other.
    with page.context.expect_page() as again:
        inside.get_by_role("button", name="Open in a new window").click()
    expect(again.value.locator("body")).to_contain_text("once more, in a window of its own")
    again.value.close()
    return carl


@pytest.fixture(scope="module")
def teacher(school: School, browser: Browser, pupil: Page) -> Page:
    """Emmy, who has opened the notebook in a window, and whose course has an assignment now."""
    emmy = window(browser)
    school.opened(emmy, "7")
    started(emmy)
    place = f"{COURSE}/source/primes"
    cells = [
        cell("def double(n): ...", grade_id="double", solution=True, locked=False),
        cell("assert double(4) == 8", grade_id="test", grade=True, points=3, locked=True),
    ]
    school.guest.run(f"mkdir -p {place}")
    write(school.guest, f"{place}/work.ipynb", json.dumps(book(cells)))
    emmy.goto(f"{school.guest.url}/hub/assignments")
    form = emmy.locator("[data-teach=algebra]")
    form.get_by_label("Hand out", exact=True).select_option("primes")
    form.get_by_role("button", name="Hand out").click()
    reloaded(
        emmy, lambda: emmy.get_by_text("is handed out").or_(emmy.get_by_text("are handed out"))
    )
    return emmy


def returned(page: Page, school: School) -> None:
    """Collect, grade and return the assignment."""
    for verb, seen in (("Collect and grade", "of 3.0"), ("Return feedback", "feedback returned")):
        page.goto(f"{school.guest.url}/hub/assignments?course=algebra&assignment=primes")
        page.get_by_role("button", name=f"{verb}: primes").click()
        row = page.locator(f"tr[data-student={school.name('9')}]")
        reloaded(page, lambda row=row, seen=seen: row.get_by_text(seen))
        reloaded(page, lambda: page.locator("main:not(:has-text('is at work'))"))


def handed_in(school: School, carl: Page, text: str) -> None:
    place = f"{COURSE}/hand-in/{school.name('9')}/primes/work.ipynb"
    work = json.loads(school.guest.run(f"cat {place}"))
    work["cells"][0]["source"] = text
    write(school.guest, place, json.dumps(work))
    carl.goto(f"{school.guest.url}/hub/assignments")
    row = carl.locator("tr[data-assignment=primes]")
    before = row.inner_text()
    row.get_by_role("button", name="Hand in").click()
    expect(row).to_contain_text("version", timeout=SECONDS)
    expect(row).not_to_have_text(before, timeout=SECONDS)


def test_the_roll_comes_and_who_has_come_is_shown_by_name(school: School, teacher: Page) -> None:
    wanted = {"teachers": {school.name("7")}, "members": {school.name(s) for s in ("9", "10")}}
    school.until(lambda: school.roll() == wanted)
    teacher.goto(f"{school.guest.url}/hub/course?course=algebra")
    expect(teacher.locator("main")).to_contain_text("Late Comer")
    expect(teacher.locator("main")).to_contain_text("karl")


def test_a_teacher_sets_a_link_up_inside_the_platforms_page(
    school: School, teacher: Page, browser: Browser
) -> None:
    """Moodle has that nowhere else, and takes the answer from nowhere else."""
    settings = {
        **{"deep_link_return_url": f"{school.moodle.issuer}/return"},
        "accept_types": ["ltiResourceLink"],
    }
    says = {f"{LTI}/message_type": "LtiDeepLinkingRequest", f"{LTI}/resource_link": None}
    page = window(browser)
    school.opened(page, "7", "inside", **says, **{f"{LINKS}/deep_linking_settings": settings})
    inside = page.frame_locator("iframe")
    inside.get_by_role("button", name="primes").wait_for()
    accessible(page.frames[1])
    picture(page, "platform-choice")
    inside.get_by_role("button", name="primes").click()
    expect(inside.locator("body")).to_have_text("It is set up.")
    (told,) = school.moodle.returned
    with platform_keys(school.guest.url) as keys:
        key = keys[jwt.get_unverified_header(told["JWT"])["kid"]]
    claims = jwt.decode(told["JWT"], key, algorithms=["RS256"], audience=school.moodle.issuer)
    (link,) = claims[f"{LINKS}/content_items"]
    assert link["custom"] == {"assignment": "primes"}
    # Other sites show none of it inside a page of theirs.
    policy = page.request.get(f"{school.guest.url}/hub/lti/launch").headers
    assert policy["content-security-policy"] == f"frame-ancestors 'self' {school.moodle.issuer}"
    page.context.close()


def test_points_arrive_by_themselves_once(school: School, teacher: Page, pupil: Page) -> None:
    started(pupil)
    pupil.goto(f"{school.guest.url}/hub/assignments")
    accessible(pupil)
    pupil.get_by_role("button", name="Begin: primes").click()
    pupil.get_by_role("button", name="Hand in: primes").wait_for()
    handed_in(school, pupil, "def double(n):\n    return n + n")
    returned(teacher, school)
    scores = school.moodle.scores
    school.until(lambda: scores)
    assert [(s["userId"], s["scoreGiven"], s["scoreMaximum"]) for _, s in scores] == [("9", 3, 3)]
    assert [each["label"] for each in school.moodle.columns] == ["primes"]

    school.moodle.status = 503
    handed_in(school, pupil, "def double(n):\n    return n")
    returned(teacher, school)
    school.until(lambda: "points wait" in school.guest.run("journalctl -u notebook --no-pager"))
    school.moodle.status = 0
    # What was begun before outlives the hub.
    school.guest.run("systemctl restart notebook")
    school.guest.wait()
    school.until(lambda: len(scores) > 1)
    time.sleep(65)  # the hub looks each minute
    assert [s["scoreGiven"] for _, s in scores] == [3, 0]
    assert len(school.moodle.columns) == 1
    said = school.guest.run("journalctl --no-pager -o cat; ps -eo args")
    assert "eyJhbGci" not in said  # as each token of a platform or of ours for it begins


def test_who_is_locked_removed_or_erased(
    school: School, teacher: Page, pupil: Page, browser: Browser, tmp_path: Path
) -> None:
    guest, carl = school.guest, school.name("9")
    guest.run(f"notebook-accounts lock {carl}")
    pupil.goto(f"{guest.url}/hub/home")
    assert "/hub/login" in pupil.url
    school.opened(pupil, "9")
    expect(pupil.locator("body")).to_contain_text("Your account is locked. Tell your teacher.")
    guest.run(f"notebook-accounts unlock {carl}")
    school.opened(pupil, "9")
    pupil.wait_for_url(f"**/user/{carl}/**")
    guest.run(f"notebook-accounts remove {carl}")
    pupil.goto(f"{guest.url}/hub/home")
    assert "/hub/login" in pupil.url
    assert guest.endpoint
    shutil.copy(guest.endpoint.known_hosts, tmp_path / "known_hosts")
    place = (guest.endpoint.host, guest.endpoint.port, guest.endpoint.user, guest.endpoint.key)
    host = Host("sage-01", *place, guest.url)
    inventory = Inventory(tmp_path / "fleet.yml", {"sage-01": host})
    erase(host, inventory, carl, tmp_path / "records", lambda *_: None)
    left = f"grep -rlI {carl} /var/lib/notebook /home/students; find /home/students -name '{carl}*'"
    assert guest.run(f"({left}); true") == ""
    assert b"Gau" not in guest.run("cat /var/lib/notebook/lti/people.json").encode()
    # The others are who they were; whom the platform sends once more comes as somebody new.
    teacher.goto(f"{guest.url}/hub/course?course=algebra")
    expect(teacher.locator("main")).to_contain_text("Late Comer")
    expect(teacher.locator("main")).not_to_contain_text("Gau")
    again = window(browser)
    school.opened(again, "9", **{f"{LTI}/custom": {"open": "course"}})
    again.wait_for_url(f"{guest.url}/hub/assignments")
    again.get_by_role("button", name="Begin: primes").wait_for()
