"""From components and advisories to what is open, who reaches it and what mends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from provision import resources
from provision.audit import database, mending
from provision.audit.component import PYPI, Component, bill_of, from_lock, from_sbom
from provision.audit.finding import Finding, judge
from provision.audit.mending import AuditTarget
from provision.errors import UsageError
from tests.unit.audit.records import HIGH, debian, osv

ROLES = resources.playbooks() / "roles"
NOTEBOOK = "/opt/notebook/lib/python3.13/site-packages"


def document(*components: dict[str, Any]) -> str:
    return json.dumps({"bomFormat": "CycloneDX", "components": list(components)})


def python(name: str, version: str, *places: str) -> dict[str, Any]:
    found = {"evidence": {"occurrences": [{"location": place} for place in places]}}
    return {"name": name, "purl": f"pkg:pypi/{name}@{version}"} | (found if places else {})


def deb(name: str, version: str, upstream: str) -> dict[str, Any]:
    purl = f"pkg:deb/debian/{name}@{version}?arch=amd64&distro=debian-13&upstream={upstream}"
    return {"name": name, "purl": purl}


def findings(
    tmp_path: Path, text: str, *records: dict[str, Any], kind: str = "host"
) -> list[Finding]:
    bill = from_sbom(text, "bill")
    (tmp_path / "db.json").write_text(json.dumps(list(records)))
    wanted = {(part.ecosystem, part.package) for part in bill.components}
    known = database.read([str(tmp_path / "db.json")], wanted)
    return list(judge(AuditTarget(kind, "room-1"), bill, known))  # type: ignore[arg-type]


def test_source_packages_are_judged_by_their_own_versions(tmp_path: Path) -> None:
    text = document(
        deb("libgcc-s1", "14.2.0-19", "gcc-14"),
        deb("gcc", "4:14.2.0-1", "gcc-defaults%401.220"),
        deb("g%2B%2B", "4:14.2.0-1", "gcc-defaults%401.220"),
    )
    (found,) = findings(tmp_path, text, debian("CVE-2026-7", "gcc-defaults", "1.221"))
    assert found.component == Component("Debian:13", "gcc-defaults", "1.220", ("gcc", "g++"))
    assert (found.name, found.fixed, found.severity) == ("CVE-2026-7", "1.221", "unknown")
    assert (found.reach, found.mend) == (
        "session",
        "appliance upgrade system -c appliance.yml room-1",
    )


def test_records_of_one_hole_are_one_finding_with_the_worst_of_each(tmp_path: Path) -> None:
    first = osv("GHSA-1", "jupyter-server", "2.19.1", aliases=["CVE-2026-1"])
    second = osv(
        "PYSEC-1", "jupyter-server", "2.20", aliases=["CVE-2026-1"],
        severity=[{"type": "CVSS_V3", "score": HIGH}],
    )  # fmt: skip
    other = osv("GHSA-2", "jupyter-server", None)
    done = osv("GHSA-3", "jupyter-server", "2.19")
    text = document(python("jupyter_server", "2.19.0", NOTEBOOK))
    one, two = findings(tmp_path, text, first, second, other, done)
    assert (one.name, one.fixed, one.severity) == ("CVE-2026-1", "2.20", "high")
    assert one.names == ("CVE-2026-1", "GHSA-1", "PYSEC-1")
    assert (two.name, two.fixed, two.mend) == ("GHSA-2", None, None)


@pytest.mark.parametrize(
    ("place", "name", "reach"),
    [
        (NOTEBOOK, "jupyter-server", "session"),
        (NOTEBOOK, "ldap3", "hub"),
        ("/opt/sage-10.8/lib/python3.13/site-packages", "ldap3", "session"),
        (str(ROLES / "extensions/files/signin.lock"), "ldap3", "hub"),
        (str(ROLES / "extensions/files/git.lock"), "gitpython", "session"),
        (str(resources.playbooks().parent / "requirements.lock"), "paramiko", "build"),
        ("/opt/python/lib/python3.13/site-packages", "numpy", "session"),
        ("", "anything", "session"),
    ],
)
def test_who_reaches_it(place: str, name: str, reach: str) -> None:
    places = (place,) if place else ()
    assert mending.reach(Component(PYPI, name, "1", (name,), places)) == reach


def test_the_most_exposed_place_counts_and_the_system_is_told_apart() -> None:
    own = str(resources.playbooks().parent / "requirements.lock")
    assert mending.reach(Component(PYPI, "idna", "1", ("idna",), (own, NOTEBOOK))) == "session"
    names = ("grub2", "nodejs", "linux", "glibc")
    found = [mending.reach(Component("Debian:13", name, "1", (name,))) for name in names]
    assert found == ["hub", "hub", "session", "session"]


def test_an_upgrade_is_named_where_our_list_has_the_fix_and_the_list_where_not() -> None:
    lock = ROLES / "notebook/files/requirements.lock"
    listed = {part.package: part.version for part in from_lock(lock).components}
    server = Component(PYPI, "jupyter-server", "2.0", ("jupyter_server",), (NOTEBOOK,))
    sage = Component(PYPI, "sphinx", "1", ("Sphinx",), ("/opt/sage-10.8/lib",))
    host, built = AuditTarget("host", "room-1"), AuditTarget("appliance", "sage.ova")
    has, lacks = listed["jupyter-server"], "99"
    assert mending.mend(host, server, has) == "appliance upgrade notebook room-1"
    assert mending.mend(host, sage, "1.1") == "appliance upgrade sage -c appliance.yml room-1"
    assert mending.mend(built, server, has) == "appliance build"
    for target in (host, built, AuditTarget("lock", str(lock))):
        told = mending.mend(target, server, lacks)
        assert told is not None
        assert told.startswith("uv pip compile ")
        assert "--upgrade-package jupyter-server" in told
        assert told.endswith("notebook/files/requirements.lock")


def test_a_lock_is_what_linux_gets_of_it(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(
        "# made by uv\n--index-url https://x\n"
        "appnope==1.0 ; sys_platform == 'darwin' \\\n    --hash=sha256:aa\n    # via ipykernel\n"
        "numpy==2.3.5 ; python_full_version < '3.12' \\\n    --hash=sha256:bb\n"
        "numpy==2.4+cpu ; python_full_version >= '3.12' --hash=sha256:cc\n"
    )
    found = [(part.package, part.version) for part in bill_of(lock).components]
    assert found == [("numpy", "2.3.5"), ("numpy", "2.4+cpu")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("numpy>=2\n", r"line 1: 'numpy>=2' fixes no version"),
        ("\nnumpy\n", r"line 2: 'numpy' is not NAME==VERSION"),
        ("x==1\nnumpy==2.*\n", r"line 2: 'numpy==2\.\*' fixes no version"),
        ("{}", r"line 1: '{}' is not"),
        ("# nothing\n", "lists no package"),
    ],
)
def test_what_is_no_lock_names_file_and_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "a.lock").write_text(text)
    with pytest.raises(UsageError, match=rf"a\.lock.*{why}"):
        bill_of(tmp_path / "a.lock")


def test_what_is_no_bill_is_refused(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"bomFormat": "SPDX"}', '{"bomFormat": "CycloneDX"}',
                 document({"purl": "pkg:pypi/x@1", "evidence": []}), document(),
                 '{"bomFormat": "CycloneDX", "components": [1]}'):  # fmt: skip
        (tmp_path / "a.cdx.json").write_text(text)
        with pytest.raises(UsageError, match=r"a\.cdx\.json (is no CycloneDX|lists no comp)"):
            bill_of(tmp_path / "a.cdx.json")
    with pytest.raises(UsageError, match="no bill of materials beside it"):
        bill_of(tmp_path / "b.ova")


def test_what_advisories_cannot_speak_of_is_told() -> None:
    text = document(python("x", "1"), {"purl": "pkg:npm/left-pad@1"}, {"name": "thing"})
    bill = from_sbom(text, "bill")
    assert bill.unjudged == ("pkg:npm/left-pad@1", "thing")
    assert [part.package for part in bill.components] == ["x"]


def test_every_list_of_ours_can_be_read() -> None:
    assert {path.name for path in mending.locks()} >= {"requirements.lock", "requirements-dev.lock"}
    assert all(bill_of(path).components for path in mending.locks())
    assert {str(path) for path in ROLES.glob("*/files/*.lock")} <= set(map(str, mending.locks()))
