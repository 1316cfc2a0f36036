"""Advisories as their publishers write them, for the tests."""

from typing import Any

HIGH = "CVSS:3.1/AV:N/AC:L/PR:L/UI:R/S:U/C:H/I:H/A:H"  # 8.0


def osv(name: str, package: str, fixed: str | None = None, **more: Any) -> dict[str, Any]:
    """A record of OSV's, of a Python package, as PyPI's all.zip has them."""
    end = [] if fixed is None else [{"fixed": fixed}]
    record: dict[str, Any] = {
        "id": name,
        "modified": "2026-10-02T08:00:00.123456Z",
        "published": "2026-10-01T08:00:00Z",
        "schema_version": "1.7.3",
        "summary": f"Stored script in {package}",
        "details": "Longer.",
        "affected": [
            {
                "package": {
                    "ecosystem": "PyPI",
                    "name": package,
                    "purl": f"pkg:pypi/{package.lower()}",
                },
                "ranges": [
                    {"type": "GIT", "repo": "https://x", "events": [{"introduced": "a" * 40}]},
                    {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, *end]},
                ],
                "versions": ["0.1"],
                "database_specific": {"source": "https://example.org"},
            }
        ],
        "references": [{"type": "WEB", "url": "https://example.org"}],
    }
    return record | more


def debian(name: str, package: str, fixed: str | None, urgency: str = "") -> dict[str, Any]:
    """A record of OSV's, of a source package of Debian 13, as its own all.zip has them."""
    end = [] if fixed is None else [{"fixed": fixed}]
    return {
        "id": f"DEBIAN-{name}",
        "modified": "2026-10-03T08:00:00Z",
        "upstream": [name],
        "details": f"A hole in {package}",
        "affected": [
            {
                "package": {"ecosystem": "Debian:13", "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, *end]}],
                "ecosystem_specific": {"urgency": urgency} if urgency else {},
            }
        ],
        "schema_version": "1.7.0",
    }


def tracker() -> dict[str, Any]:
    """Data as https://security-tracker.debian.org/tracker/data/json has it."""
    there = {"bookworm": "1.2", "trixie": "1:1.3", "sid": "1:1.4"}

    def state(status: str, **more: Any) -> dict[str, Any]:
        return {"status": status, "repositories": there, "urgency": "not yet assigned"} | more

    return {
        "zlib": {
            "CVE-2026-1": {
                "description": "Overflow in\n inflate",
                "debianbug": 1,
                "scope": "local",
                "releases": {
                    "trixie": state("resolved", fixed_version="1:1.3.dfsg-2", urgency="high"),
                    "sid": state("resolved", fixed_version="1:1.4"),
                },
            },
            "CVE-2026-2": {
                "releases": {"trixie": state("open", nodsa="Minor issue", nodsa_reason="")}
            },
            "CVE-2026-3": {"releases": {"trixie": state("resolved", fixed_version="0")}},
            "CVE-2026-4": {"releases": {"bookworm": state("open")}},
            "TEMP-0000000-ABCDEF": {"releases": {"trixie": state("open", urgency="unimportant")}},
        },
        "zstd": {"CVE-2026-5": {"releases": {"trixie": state("open", urgency="medium**")}}},
    }
