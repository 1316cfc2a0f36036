"""The verbs on a real build: published, checked by other tools, pulled to a seat, booted."""

import contextlib
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.build import places
from provision.build.build import Built
from provision.cli import main
from provision.cli._build import default_output
from provision.distribution import vdi
from provision.process import require
from tests.integration.conftest import CONFIG, SMALL
from vbox import VBoxManage, machine

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def work(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A publisher's directory and data, from which the shared appliance is built already."""
    place = tmp_path_factory.mktemp("work")
    (place / default_output(CONFIG)).symlink_to(built.ova)
    shutil.copytree(places.admin_key(CONFIG.name).parent, place / "data/appliance" / CONFIG.name)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def cli(work: Path) -> Iterator[Cli]:
    """Run a verb there; what it says as JSON."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(work)
        patched.setenv("XDG_DATA_HOME", str(work / "data"))

        def appliance(*arguments: str | Path) -> Any:
            out, err = io.StringIO(), io.StringIO()
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                pytest.raises(SystemExit) as ended,
            ):
                main([*map(str, arguments), "--json"])
            assert ended.value.code == 0, err.getvalue()
            return json.loads(out.getvalue())

        yield appliance


@pytest.fixture(scope="module")
def folder(cli: Cli, work: Path) -> tuple[Path, dict[str, Any]]:
    """The shared appliance, published by the verb with its OVA."""
    place = work / "published"
    return place, cli("publish", place, "--ova", *SMALL)


def test_publish_a_build(
    folder: tuple[Path, dict[str, Any]],
    built: Built,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    place, out = folder
    assert out["new_chunks"] == out["chunks"] > 1000
    version = place / "versions" / out["version"]
    # One signature over all, by the program that everybody has.
    minisign = [require("minisign", "minisign"), "-V", "-q", "-p", place / "minisign.pub"]
    channel = place / "channels/stable.minisig"
    subprocess.run([*minisign, "-m", version / "SHA256SUMS", "-x", channel], check=True)
    subprocess.run(
        ["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"], cwd=version, check=True
    )
    listed = {line.split("  ")[1] for line in (version / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in version.iterdir()} - {"SHA256SUMS"}
    ova = next((place / "ova").glob("*.ova"))
    subprocess.run([*minisign, "-m", ova], check=True)
    assert ova.stat().st_size == built.ova.stat().st_size
    # What is in it, Debian's and Python's, with licences.
    bill = json.loads((version / "sbom.cdx.json").read_text())
    parts = {
        (part["purl"].split(":")[1].split("/")[0], part["name"]): part
        for part in bill["components"]
    }
    for kind, name in (("deb", "openssh-server"), ("deb", "linux-base"), ("pypi", "jupyterhub")):
        assert parts[kind, name]["licenses"], name
    for kind in ("deb", "pypi"):
        all_of = [part for (k, _), part in parts.items() if k == kind]
        named = [part for part in all_of if part.get("licenses")]
        assert len(named) > 0.95 * len(all_of), [p["name"] for p in all_of if p not in named]
    packages = (version / "packages.txt").read_text()
    assert "\ndeb openssh-server 1:" in packages
    assert "\npypi jupyterhub " in packages
    assert (version / "changelog.txt").read_text() == "The first version.\n"
    # The same build again adds nothing, and nobody gets an OVA who did not ask for one.
    monkeypatch.chdir(tmp_path)
    again = cli("publish", place, *SMALL)
    assert list(tmp_path.iterdir()) == []
    # A second channel, and what prune may take.
    assert (again["version"], again["serial"], again["new_chunks"]) == (out["version"], 1, 0)
    moved = cli("publish", place, "--channel", "next", "--promote", out["version"], "--prune", "1")
    assert (moved["serial"], moved["pruned_versions"]) == (1, 0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_build_comes_to_a_seat_and_boots_there(
    folder: tuple[Path, dict[str, Any]],
    built: Built,
    cli: Cli,
    manage: VBoxManage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, out = folder
    for name in ("VBOX_USER_HOME", "VBOX_IPC_SOCKETID"):
        monkeypatch.setenv(name, manage.env[name])
    pulled = cli(
        "pull",
        place,
        "--public-key",
        place / "minisign.pub",
        "--seat",
        "3",
        "--name",
        "sage-{seat:02d}",
    )
    assert (pulled["name"], pulled["version"], pulled["changed"]) == (
        "sage-03",
        out["version"],
        True,
    )
    (found,) = machine.find(manage, "sage-03")
    live = [each.medium for each in found.attachments]
    qemu_img = require("qemu-img", "qemu-utils")
    bases = [path.with_name(path.name.split(".")[0] + ".vdi") for path in live]
    for base, raw in zip(bases, built.disks, strict=True):
        assert vdi.read(base).size == raw.stat().st_size
        subprocess.run([qemu_img, "compare", "-f", "vdi", "-F", "raw", base, raw], check=True)
    disks = [word for base in bases for word in ("--disk", base)]
    rows = cli("verify", *SMALL, *disks)  # boots them with BIOS, GRUB and kernel, twice
    assert {row["result"] for row in rows} == {"ok"}
    assert cli("pull", place, "--seat", "3", "--name", "sage-{seat:02d}")["changed"] is False
