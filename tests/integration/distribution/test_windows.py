"""Seats and operators at Windows: its own Python under wine, with the real VirtualBox behind it."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from publishing import Publisher, Server
from windows import PROJECT, WINE, Windows, installed, interpreter, windows

from provision.cli import appliance
from provision.distribution.bundle import bundle
from vbox import VBoxManage, ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LINUX_ONLY = [
    "build", "verify", "configure", "upgrade system", "upgrade pack", "publish folder",
    "jail build folder", "sandbox doctor", "export zero-to-jupyterhub folder",
]  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert WINE.exists(), "apt-get install wine64"
    return installed(tmp_path_factory.mktemp("python"))


@pytest.fixture
def here(tmp_path: Path, python: Path, manage: VBoxManage) -> Iterator[Windows]:
    made = windows(tmp_path / "A Teacher's", python, manage)
    yield made
    subprocess.run(["wineserver64", "-k"], env={**made.env, "PATH": "/usr/lib/wine"}, check=False)


def test_every_verb_explains_itself_and_what_needs_linux_says_so(here: Windows) -> None:
    code, told, _ = here.appliance("--version")
    assert code == 0
    assert told.startswith("appliance, version")
    each = (
        "import sys; from provision.cli import appliance, main\n"
        "for words in eval(sys.argv[1]):\n"
        "    try: main(words.split())\n"
        "    except SystemExit as end: print('ended', end.code, file=sys.stderr)\n"
    )
    helps = [f"{name} --help" for name in ("", *appliance.list_commands(click.Context(appliance)))]
    done = here.python("-X", "utf8", "-c", each, repr(helps))
    assert done.stderr.split("\n")[-len(helps) - 1 : -1] == ["ended 0"] * len(helps), done.stderr
    assert done.stdout.count("Usage: appliance") == len(helps)
    done = here.python("-X", "utf8", "-c", each, repr(LINUX_ONLY))
    assert done.stderr.count("this needs a Linux host") == len(LINUX_ONLY), done.stderr
    assert done.stderr.count("ended 4") == len(LINUX_ONLY)


def test_doctor_knows_what_stands_beside_virtualbox(here: Windows, tmp_path: Path) -> None:
    def doctor() -> dict[str, dict[str, str]]:
        code, told, _ = here.appliance("doctor", "--json", cwd=tmp_path)
        assert code == 0
        return {check["name"]: check for check in json.loads(told)["checks"]}

    before = doctor()
    assert before["VirtualBox"]["status"] == "ok"
    assert not {"Hyper-V", "WSL", "virtualization-based security"} & set(before)
    here.set(r"HKLM\SYSTEM\CurrentControlSet\Services\vmms", "")
    here.set(
        r"HKLM\SYSTEM\CurrentControlSet\Control\DeviceGuard"
        r"\Scenarios\HypervisorEnforcedCodeIntegrity",
        *("Enabled", "1"),
    )
    here.set(
        r"HKCU\Software\Microsoft\Windows\CurrentVersion\Lxss", "DefaultDistribution", "{debian}"
    )
    for name in ("Hyper-V", "WSL", "virtualization-based security"):
        found = doctor()[name]
        assert found["status"] == "warning"
        assert found["mend"]


def test_a_seat_from_a_folder_on_the_web(
    here: Windows, publisher: Publisher, serve: Callable[[Path], Server], tmp_path: Path
) -> None:
    """Pulled, renewed, led back, reset, cloned, snapshotted; a folder with spaces and quotes."""
    publisher.publish(1)
    url = serve(publisher.root).url
    work = tmp_path / "Müllers Klasse"
    work.mkdir()

    def appliance(*words: str | Path) -> dict[str, object]:
        code, told, said = here.appliance(*words, "--json", cwd=work)
        assert code == 0, said[-2000:]
        return json.loads(told)

    first = appliance("pull", url, "--public-key", publisher.public)
    assert first["changed"] is True
    assert appliance("pull", url)["changed"] is False
    publisher.publish(2)
    assert appliance("pull", url)["previous"] == first["version"]
    assert appliance("pull", "--rollback")["version"] == first["version"]
    assert appliance("reset")["version"] == first["version"]
    assert len(appliance("clone", "--count", "1")) == 1


def test_a_port_that_is_taken_is_not_free(here: Windows) -> None:
    """On Windows SO_REUSEADDR shares it."""
    done = here.python(
        "-c",
        "import socket; from vbox import ports; taken = socket.socket();"
        " taken.bind(('127.0.0.1', 0)); taken.listen();"
        " print(ports.free('127.0.0.1', taken.getsockname()[1]))",
    )
    assert done.stdout.strip() == "False", done.stderr
    assert ports.free("127.0.0.1", 0)


def test_a_teacher_double_clicks_what_is_on_the_stick(
    here: Windows, publisher: Publisher, tmp_path: Path
) -> None:
    """No Python of the teacher's: the program comes along, is copied, and brings the appliance."""
    publisher.publish(1)
    packed = tmp_path / "python-3.13.0-embed-amd64.zip"
    made = interpreter(tmp_path / "embed")
    (made / "python313._pth").write_text("python313.zip\n.\n#import site\n")
    with zipfile.ZipFile(packed, "w") as package:
        for path in sorted(path for path in made.rglob("*") if path.is_file()):
            package.write(path, path.relative_to(made))
    wheels = tmp_path / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, PROJECT], check=True
    )
    stick = tmp_path / "A stick (1)"
    bundle(publisher.root, stick, wheels=sorted(wheels.glob("*.whl")), windows=packed)
    start = stick / "Classroom.cmd"
    first = here.cmd(start)
    assert "all files are as they were written" in first.stdout, first
    assert "Copying the program" in first.stdout
    # There is no driver of VirtualBox here, so nothing starts: the file says so, and waits.
    assert (first.returncode, "the last lines above say what" in first.stdout) == (1, True), first
    (local,) = (here.place / "prefix/drive_c/users").glob("*/AppData/Local")
    command = local / "Microsoft/WindowsApps/appliance.cmd"
    assert json.loads(here.cmd(command, "status", "--json").stdout)["state"] == "poweroff"
    # Once more: neither checked nor copied nor brought again.
    again = here.cmd(start).stdout
    assert "Copying" not in again and "(no change)" in again, again
    # An older stick brings no program, and nothing that is older; what is here is started.
    (stick / "windows/VERSION").write_text("20200101000000\r\n")
    (stick / "channels/stable.minisig").write_text("damaged")
    older = here.cmd(start).stdout
    assert "Copying" not in older and "what is here already is started" in older, older
    (stick / "windows/VERSION").write_text("99990101000000\r\n")
    next((stick / "windows/site").rglob("click/core.py")).write_text("")
    damaged = here.cmd(start)
    assert "BAD windows/site/click/core.py" in damaged.stdout, damaged
    assert damaged.returncode == 1
    assert here.cmd(command, "--version").returncode == 0  # what was copied is as it was
