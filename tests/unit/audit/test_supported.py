"""The table of what is supported until when."""

import datetime
from pathlib import Path

from click.testing import CliRunner

from provision.audit import mending, supported
from provision.audit.supported import Series, troubles
from provision.cli import appliance

ROOT = Path(__file__).parents[3]
DAY = datetime.date(2027, 1, 1)
ENTRIES = (
    Series("a", "==1.*", DAY, "the old one"),
    Series("a", "==2.*", DAY),
    Series("b", "<9", DAY, lists=("one.lock",)),
)


def test_all_that_is_asked_for_is_known_and_pinned_as_the_table_says() -> None:
    lists = supported.lists(mending.locks())
    day = datetime.date(2026, 11, 29)  # when it was written
    assert list(troubles(supported.entries(), supported.requirements(), lists, day)) == []
    assert {"ansible-core", "jupyterhub", "jupyterlab-git", "trixie", "python-3.13"} <= (
        supported.requirements()
    )


def test_the_page_is_up_to_date() -> None:
    committed = (ROOT / "docs/supported.md").read_text()
    renew = "renew it: python -m provision.cli._supported > docs/supported.md"
    assert committed == supported.document(supported.entries()), renew


def test_what_is_over_unknown_or_of_another_series_is_told() -> None:
    asked = frozenset({"a", "c"})
    pins = {"one.lock": {"a": "2.5", "b": "9.1"}, "two.lock": {"a": "3.0", "b": "9.1"}}
    told = list(troubles(ENTRIES, asked, pins, DAY))
    assert [line.split(":")[0] for line in told] == ["c", "b 9.1 in one.lock", "a 3.0 in two.lock"]
    late = list(troubles(ENTRIES, frozenset(), {}, DAY + datetime.timedelta(days=1)))
    assert late[0] == "a ==1.*: over since 2027-01-01; held by: the old one"
    assert len(late) == 3


def test_it_wants_no_advisories_and_judges_nothing_else() -> None:
    done = CliRunner().invoke(appliance, ["audit", "--supported"])
    assert "2.19.*" in done.output and done.exit_code in (0, 8)  # 2.19 ends with November 2026
    done = CliRunner().invoke(appliance, ["audit", "--supported", "--locks"])
    assert done.exit_code == 2
    done = CliRunner(env={"APPLIANCE_ADVISORIES": ""}).invoke(appliance, ["audit", "--locks"])
    assert done.exit_code == 2 and "--advisories" in done.output
