"""The bill of materials: every package once, in order, and nothing else."""

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from provision.errors import ApplianceError
from provision.ova.sbom import sbom

STATUS = """\
Package: zlib1g
Status: install ok installed
Maintainer: Mark Brown <broonie@debian.org>
Architecture: amd64
Source: zlib (1:1.3)
Version: 1:1.3.dfsg+really1.3.1-1+b1
Description: compression library - runtime
 More than one line.

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: adduser
Status: install ok installed
Maintainer: Debian Adduser Developers <adduser@packages.debian.org>
Architecture: all
Version: 3.152
Description: add and remove users and groups
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with two Debian packages and one Python package, in two places."""
    tree = tmp_path / "root"
    (tree / "var/lib/dpkg").mkdir(parents=True)
    (tree / "var/lib/dpkg/status").write_text(STATUS)
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    for place in ("opt/sage-1/lib/python3/site-packages", "usr/local/lib/python3/dist-packages"):
        info = tree / place / "Jupyter_Hub-6.1.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            "Name: Jupyter_Hub\nVersion: 6.1\nSummary: Hub\nLicense-Expression: BSD-3-Clause\n"
        )
    dpkg_owned = tree / "usr/lib/python3/dist-packages/apt-1.dist-info"
    dpkg_owned.mkdir(parents=True)
    (dpkg_owned / "METADATA").write_text("Name: apt\nVersion: 1\n")
    return tree


def test_lists_what_is_installed_by_package_url(root: Path) -> None:
    document = json.loads(sbom(root, name="sage", version="1.0", epoch=0))
    assert [c["purl"] for c in document["components"]] == [
        "pkg:deb/debian/adduser@3.152?arch=all&distro=debian-13&upstream=adduser",
        "pkg:deb/debian/zlib1g@1:1.3.dfsg%2Breally1.3.1-1%2Bb1"
        "?arch=amd64&distro=debian-13&upstream=zlib%401:1.3",
        "pkg:pypi/jupyter-hub@6.1",
    ]
    assert document["components"][2]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert document["components"][2]["evidence"]["occurrences"] == [
        {"location": "/opt/sage-1/lib/python3/site-packages"},
        {"location": "/usr/local/lib/python3/dist-packages"},
    ]
    assert document["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
    assert document["metadata"]["component"]["version"] == "1.0"


def test_follows_the_schema_of_cyclonedx(root: Path) -> None:
    text = sbom(root, name="sage", version="1.0", epoch=0)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_same_tree_same_text(root: Path) -> None:
    first = sbom(root, name="sage", version="1.0", epoch=0)
    moved = root.rename(root.with_name("elsewhere"))
    assert sbom(moved, name="sage", version="1.0", epoch=0) == first
    assert str(moved) not in first


def test_a_changed_package_changes_the_serial_number(root: Path) -> None:
    def serial() -> str:
        return str(json.loads(sbom(root, name="s", version="1", epoch=0))["serialNumber"])

    before = serial()
    status = root / "var/lib/dpkg/status"
    status.write_text(status.read_text().replace("3.152", "3.153"))
    assert serial() != before


def test_a_directory_that_is_no_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no Debian root"):
        sbom(tmp_path, name="s", version="1", epoch=0)


def test_names_licences_of_both_kinds_of_package(root: Path) -> None:
    doc = root / "usr/share/doc"
    (doc / "adduser").mkdir(parents=True)
    (doc / "adduser/copyright").write_text(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "Files: *\nCopyright: somebody\nLicense: GPL-2+\n\nFiles: b\nLicense: Artistic\n"
        "\nLicense: GPL-2+\n Text of it.\n"
    )
    (doc / "zlib1g").mkdir()
    (doc / "zlib1g/copyright").write_text("Somebody's own words.\n")
    info = root / "opt/x/old-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Name: old\nVersion: 1\nClassifier: License :: OSI Approved :: BSD License\n"
    )
    text = sbom(root, name="sage", version="1.0", epoch=0)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {part["name"]: part.get("licenses") for part in json.loads(text)["components"]}
    assert found["adduser"] == [{"license": {"name": n}} for n in ("Artistic", "GPL-2+")]
    assert found["zlib1g"] == [{"license": {"name": "see /usr/share/doc/zlib1g/copyright"}}]
    assert found["old"] == [{"license": {"name": "BSD License"}}]
    assert found["Jupyter_Hub"] == [{"expression": "BSD-3-Clause"}]
