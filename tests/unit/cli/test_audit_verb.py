"""`appliance audit` on files: what it says, and with which exit code."""

import json

import pytest

from tests.unit.audit.records import HIGH, osv

RATED = {"severity": [{"type": "CVSS_V3", "score": HIGH}]}


@pytest.fixture
def lock(tmp_path):
    (tmp_path / "a.lock").write_text("jupyterhub==6.1\nldap3==2.9.1\n")
    return str(tmp_path / "a.lock")


@pytest.fixture
def advisories(tmp_path):
    def write(*records):
        (tmp_path / "db.json").write_text(json.dumps(records))
        return ("--advisories", str(tmp_path / "db.json"))

    return write


def test_it_explains_itself(appliance):
    shown = appliance("audit", "--help")
    assert shown.code == 0
    assert "without a network" in shown.out
    assert "8 something is" in " ".join(shown.out.split())


def test_what_is_open_is_shown_with_all_that_one_needs(appliance, lock, advisories):
    shown = appliance("audit", lock, *advisories(osv("GHSA-1", "JupyterHub", "6.2", **RATED)))
    assert shown.code == 8
    line = "jupyterhub 6.1  fixed in 6.2  high, session  GHSA-1 Stored script in JupyterHub"
    assert line in shown.out
    assert "--upgrade-package jupyterhub -o a.lock" in shown.out
    assert "2 components, 1 open" in shown.out


def test_json(appliance, lock, advisories):
    told = advisories(osv("GHSA-1", "jupyterhub", **RATED))
    shown = appliance("audit", lock, *told, "--json")
    assert shown.code == 8
    document = json.loads(shown.out)
    (target,) = document["targets"]
    (found,) = target["findings"]
    assert (found["name"], found["fixed"], found["mend"]) == ("GHSA-1", None, None)
    assert found["component"]["version"] == "6.1"
    assert document["advisories"]["records"] == {"PyPI": 1}


def test_nothing_open(appliance, lock, advisories):
    shown = appliance("audit", lock, *advisories(osv("GHSA-1", "jupyterhub", "6.1")))
    assert (shown.code, "2 components, 0 open" in shown.out) == (0, True)


def test_the_asked_severity_decides_and_one_that_nobody_judged_counts(appliance, lock, advisories):
    told = advisories(osv("GHSA-1", "jupyterhub", "6.2", **RATED))
    assert appliance("audit", lock, *told, "--severity", "high").code == 8
    assert appliance("audit", lock, *told, "--severity", "critical").code == 0
    told = advisories(osv("GHSA-1", "jupyterhub", "6.2"))
    assert appliance("audit", lock, *told, "--severity", "critical").code == 8


def test_nothing_is_never_called_safe(appliance, lock, advisories):
    shown = appliance("audit", lock, *advisories())
    assert (shown.code, shown.out) == (2, "")
    assert "no advisory of PyPI" in shown.err
    shown = appliance("audit", lock, *advisories(osv("G", "x")), "--only", "debian")
    assert (shown.code, "none is judged" in shown.err) == (2, True)
    assert appliance("audit", lock).code == 2
    shown = appliance("audit", *advisories(osv("G", "x")))
    assert (shown.code, "give FILE" in shown.err) == (2, True)


def test_a_record_steers_no_terminal(appliance, lock, advisories):
    record = osv("GHSA-1", "jupyterhub", summary="\x1b[2Jgone")
    shown = appliance("audit", lock, *advisories(record))
    assert shown.code == 8
    assert "\x1b" not in shown.out
