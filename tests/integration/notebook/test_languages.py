"""The hub in other languages: every text has its words, and pages show none of English."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import cycle

import pytest
from guest import Guest
from handed import book, cell, make_places, write
from pages import accessible, sign_in
from playwright.sync_api import Browser, Page

LOCALES = {"de": "de_AT.UTF-8", "fr": "fr_FR.UTF-8"}
DROP_IN = "/run/systemd/system/notebook.service.d/language.conf"
COURSE = "/home/students/.courses/algebra"
# In the guest, by what the hub itself has: what is marked, what is not translated, what is unused.
LOOK = r"""
import ast, json, re
from pathlib import Path
from jinja2 import Environment
from provision.guest import words
from provision.guest.hub.words import OWN, pattern

env = Environment(extensions=["jinja2.ext.i18n"])
env.policies["ext.i18n.trimmed"] = True
marked = set()
for path in OWN.glob("*.html"):
    marked |= {text for _, _, text in env.extract_translations(path.read_text())}
for path in Path(words.__file__).parent.rglob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
            marked |= {each.value for each in node.args if isinstance(each, ast.Constant)}
marked.discard(None)
theirs = "".join(p.read_text() for p in Path("/opt/notebook/share/jupyterhub/templates").iterdir())
found = {}
for path in sorted(words.LANGUAGES.glob("*.po")):
    known = words.catalogue(path.stem)
    mine = {each.id: each.string for each in known if each.id and not each.context}
    others = {each.id: each.string for each in known if each.context}
    places = re.compile(r"%\(\w+\)s|<[^>]*>|\{\w+\}")
    found[path.stem] = {
        "missing": sorted(text for text in marked if not mine.get(text)),
        "empty": sorted(text for text, said in {**mine, **others}.items() if not said),
        "broken": [t for t in mine if sorted(places.findall(t)) != sorted(places.findall(mine[t]))],
        "unused": [text for text in others if not pattern(text).search(theirs)],
        "alike": [text for text, said in {**mine, **others}.items() if text == said],
    }
print(json.dumps(found))
"""
# All that a page says, by eye and by ear.
TEXTS = """() => {
  const said = new Set(), add = text => text && said.add(text.trim().replace(/\\s+/g, ' '));
  const skipped = ['SCRIPT', 'STYLE', 'NOSCRIPT', 'CODE', 'PRE'];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode())
    if (!skipped.includes(walk.currentNode.parentNode.tagName)) add(walk.currentNode.data);
  for (const each of document.querySelectorAll('[aria-label],[title],[placeholder],[alt],input'))
    for (const name of ['aria-label', 'title', 'placeholder', 'alt'])
      add(each.getAttribute(name));
  for (const each of document.querySelectorAll('input[type=submit]')) add(each.value);
  add(document.title);
  return [...said];
}"""
# Words that are none of ours; "None" is JupyterHub's, in English too, for a page that is none.
NAMES = {"JupyterHub", "Error", "OK", "UTC", "None", "emmy", "noether", "carl", "cheat"}
NAMES |= {"algebra", "sheet", "work", "why"}
STUDENT = ("home", "assignments", "auth/change-password", "nowhere", "spawn-pending/emmy")
TEACHER = ("assignments", "assignments?course=algebra&assignment=sheet")
TEACHER += ("assignments?course=algebra&assignment=sheet&student=emmy",)
TEACHER += ("course?course=algebra", "course?course=algebra&done=stop")


@pytest.fixture(scope="module")
def catalogues(guest: Guest) -> dict[str, dict[str, list[str]]]:
    write(guest, "/root/look.py", LOOK)
    found: dict[str, dict[str, list[str]]] = json.loads(
        guest.run("/opt/notebook/bin/python -I /root/look.py")
    )
    return found


@pytest.fixture(scope="module")
def course(guest: Guest) -> Iterator[Guest]:
    """A course with an assignment, whose texts are all shown; the hub's own language afterwards."""
    make_places(guest, "algebra")
    guest.run(f"systemctl start notebook-assignments.socket; mkdir -p {COURSE}/source/sheet")
    cells = [cell("# why?", grade_id="why", grade=True, solution=True, locked=False, points=2)]
    write(guest, f"{COURSE}/source/sheet/work.ipynb", json.dumps(book(cells)))
    guest.run("notebook-assignments release algebra sheet --due 2030-01-01T12:00 --grace 5")
    guest.run(f"cp -r {COURSE}/hand-out/sheet {COURSE}/hand-in/emmy/")
    guest.run("notebook-assignments grade algebra sheet", timeout=300)
    yield guest
    speak(guest, "")


def speak(guest: Guest, locale: str) -> None:
    """Start the hub anew, in another language."""
    guest.run(f"mkdir -p {DROP_IN.rpartition('/')[0]}; rm -f {DROP_IN}")
    if locale:
        write(guest, DROP_IN, f"[Service]\nEnvironment=LANG={locale}\n")
    guest.run("systemctl daemon-reload; systemctl restart notebook")
    guest.wait()


def texts_of(page: Page) -> set[str]:
    """What a page says that is not of numbers and names alone."""
    return {text for text in page.evaluate(TEXTS) if {*re.findall("[A-Za-z]{2,}", text)} - NAMES}


def pages(guest: Guest, browser: Browser, schemes: Sequence[str] = ()) -> dict[str, set[str]]:
    """What each page says to a student and a teacher; axe-core looks at it in these colours."""
    found = {}
    for name, places in {"emmy": STUDENT, "noether": TEACHER}.items():
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{guest.url}/hub/login")
        if schemes:
            accessible(page, schemes)
        found[f"login {name}"] = texts_of(page)
        sign_in(page, guest.url, name, "correct horse")
        for place in places:
            page.goto(f"{guest.url}/hub/{place}")
            if schemes:
                accessible(page, schemes)
            found[f"{place} {name}"] = texts_of(page)
        page.goto(f"{guest.url}/hub/logout")
        if schemes:
            accessible(page, schemes)
        found[f"logout {name}"] = texts_of(page)
        context.close()
    return found


@pytest.mark.parametrize("language", LOCALES)
def test_every_text_is_translated_and_nothing_else(
    catalogues: dict[str, dict[str, list[str]]], language: str
) -> None:
    found = catalogues[language]
    assert {kind: found[kind] for kind in ("missing", "empty", "broken", "unused")} == {
        "missing": [],
        "empty": [],
        "broken": [],
        "unused": [],
    }


def test_pages_say_nothing_in_english(
    course: Guest, browser: Browser, catalogues: dict[str, dict[str, list[str]]]
) -> None:
    english = pages(course, browser)
    # A page is seen in each language and in both colours, but not in each pair of them.
    for (language, locale), scheme in zip(LOCALES.items(), cycle(("light", "dark")), strict=False):
        speak(course, locale)
        for place, texts in pages(course, browser, [scheme]).items():
            left = (texts & english[place]) - {*catalogues[language]["alike"]}
            assert not left, f"{language}, {place}: {left}"
            assert texts, place
