"""`appliance audit` of what a build has made."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from provision.audit.component import bill_of
from provision.build.build import Built
from tests.unit.audit.records import HIGH, debian, osv


def audit(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "provision.cli", "audit", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


def test_holes_of_a_built_appliance(built: Built, tmp_path: Path) -> None:
    bill = bill_of(built.ova)
    there = {part.package: part for part in bill.components}
    server, ssl, linux = (there[name] for name in ("jupyter-server", "openssl", "linux"))
    assert server.places[0].startswith("/opt/notebook/lib/python3.")
    assert ssl.ecosystem == "Debian:13"
    assert "libssl3t64" in ssl.names
    assert there["gcc-defaults"].version.startswith("1."), "of the source, not 4:14.2.0-1"

    rated = {"severity": [{"type": "CVSS_V3", "score": HIGH}]}
    python = [
        osv("GHSA-1", "Jupyter_Server", f"{server.version}.post1", aliases=["CVE-1"], **rated),
        osv("GHSA-2", "jupyter-server", server.version, **rated),
        osv("GHSA-3", "jupyter-server", "9999"),
    ]
    folder = tmp_path / "advisories"
    folder.mkdir()
    (folder / "python.json").write_text(json.dumps(python))
    (folder / "debian.json").write_text(
        json.dumps([debian("CVE-2", "openssl", ssl.version), debian("CVE-3", "linux", None)])
    )
    data = {
        "openssl": {
            "CVE-4": {"releases": {"trixie": {"status": "open", "urgency": "high"}}},
            "CVE-5": {
                "releases": {
                    "trixie": {
                        "status": "resolved",
                        "fixed_version": f"{ssl.version}+later",
                        "urgency": "low",
                    }
                }
            },
        }
    }
    (folder / "tracker.json").write_text(json.dumps(data))

    def open_in_it(*more: str) -> dict[str, dict[str, Any]]:
        done = audit(str(built.ova), "--advisories", str(folder), "--json", *more)
        assert done.returncode == 8, done.stderr
        (target,) = json.loads(done.stdout)["targets"]
        assert target["components"] == len(bill.components)
        return {each["name"]: each for each in target["findings"]}

    found = open_in_it()
    told = {name: (each["fixed"], each["reach"], each["mend"]) for name, each in found.items()}
    renewal = told["GHSA-3"][2]
    assert renewal.startswith("uv pip compile ")
    assert told == {
        "CVE-1": (f"{server.version}.post1", "session", renewal),
        "GHSA-3": ("9999", "session", renewal),
        "CVE-3": (None, "session", None),
        "CVE-4": (None, "session", None),
        "CVE-5": (f"{ssl.version}+later", "session", "appliance build"),
    }
    assert found["CVE-3"]["component"]["version"] == linux.version
    worst = open_in_it("--severity", "high")
    assert "CVE-5" not in worst
    assert {"CVE-1", "CVE-4"} <= worst.keys()


def test_a_built_appliance_is_not_safe_by_half_a_database(built: Built, tmp_path: Path) -> None:
    (tmp_path / "python.json").write_text(json.dumps(osv("GHSA-1", "nothing")))
    words = (str(built.ova), "--advisories", str(tmp_path / "python.json"))
    half = audit(*words)
    assert (half.returncode, half.stdout) == (2, "")
    assert "no advisory of Debian:13" in half.stderr
    assert audit(*words, "--only", "pypi").returncode == 0
