"""The program for seats with Windows: its own Python, what it imports, and a file to double-click.

Nothing is installed on the seat but VirtualBox: the file copies the program into the user's own
directory, brings the appliance, starts it, and opens it in the browser.
"""

import datetime
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from provision import resources
from provision.errors import UsageError

FOLDER, START = "windows", "Classroom.cmd"
PLATFORM = "x86_64-pc-windows-msvc"
OWN = "classroom_appliance-*.whl"
_AMD64 = 0x8664  # IMAGE_FILE_MACHINE_AMD64 of a PE header
_PATHS = re.compile(r"python3(\d+)\._pth")  # where such a Python looks for modules
_HINT = "python.org, Downloads, Windows: 'Windows embeddable package (64-bit)'"
# As DOS has it: the whole of it is read again after each line, by where it was.
_START = r"""@echo off
setlocal
chcp 65001 >nul
set "STICK=%~dp0"
set "PLACE=%LOCALAPPDATA%\appliance\program"
set "PYTHON=%PLACE%\python\python.exe"
set "HAVE="
set /p NEW=<"%STICK%windows\VERSION"
if exist "%PLACE%\VERSION" set /p HAVE=<"%PLACE%\VERSION"
rem A later stick brings a later program; an older one brings none.
if "%NEW%" LEQ "%HAVE%" goto there
echo Checking the stick ...
"%STICK%windows\python\python.exe" "%STICK%verify.py"
if not "%ERRORLEVEL%"=="0" goto wrong
echo Copying the program ...
rem What was not copied to its end has no VERSION, and is copied anew.
if exist "%PLACE%\VERSION" del "%PLACE%\VERSION"
if exist "%PLACE%\python" rmdir /S /Q "%PLACE%\python"
if exist "%PLACE%\site" rmdir /S /Q "%PLACE%\site"
xcopy "%STICK%windows\python" "%PLACE%\python" /E /I /Q /Y >nul
if not "%ERRORLEVEL%"=="0" goto wrong
xcopy "%STICK%windows\site" "%PLACE%\site" /E /I /Q /Y >nul
if not "%ERRORLEVEL%"=="0" goto wrong
if not exist "%LOCALAPPDATA%\Microsoft\WindowsApps" mkdir "%LOCALAPPDATA%\Microsoft\WindowsApps"
copy /Y "%STICK%windows\appliance.cmd" "%LOCALAPPDATA%\Microsoft\WindowsApps\appliance.cmd" >nul
copy /Y "%STICK%windows\VERSION" "%PLACE%\VERSION" >nul
if not "%ERRORLEVEL%"=="0" goto wrong
:there
"%PYTHON%" -m provision.cli pull "%STICK%." --public-key "%STICK%minisign.pub"
if "%ERRORLEVEL%"=="0" goto brought
if not exist "%PLACE%\BROUGHT" goto wrong
echo Nothing is brought from this stick, see above; what is here already is started.
goto start
:brought
echo 1 >"%PLACE%\BROUGHT"
:start
"%PYTHON%" -m provision.cli up
if not "%ERRORLEVEL%"=="0" goto wrong
"%PYTHON%" -m provision.cli open
if not "%ERRORLEVEL%"=="0" goto wrong
echo.
echo It runs. In a terminal, "appliance --help" says what else there is; "appliance down" ends it.
pause
exit /b 0
:wrong
echo.
echo Something is missing; the last lines above say what, and what mends it.
pause
exit /b 1
"""
_COMMAND = r"""@"%LOCALAPPDATA%\appliance\program\python\python.exe" -m provision.cli %*
"""


def add_program(python: Path, wheels: Sequence[Path], target: Path) -> list[Path]:
    """Put the program for Windows into a folder.

    Args:
        python: python.org's embeddable package, ``python-3.13.N-embed-amd64.zip``.
        wheels: our own among them, and any that no index has.
        target: the folder.

    Returns:
        The files that were written.

    Raises:
        UsageError: that is no such package, our wheel is not there, or what it needs is not to
            be had for Windows.
    """
    own = [wheel for wheel in wheels if wheel.match(OWN)]
    if len(own) != 1:
        raise UsageError(
            f"{len(own)} wheels of this program among --wheels; Windows gets just one",
            hint=f"one file {OWN}, as `make release` leaves it in dist",
        )
    place = target / FOLDER
    version = _unpack(python, place / "python")
    _install(own[0], wheels, version, place / "site")
    when = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d%H%M%S")
    (place / "VERSION").write_text(f"{when}\r\n", newline="")
    (place / "appliance.cmd").write_text(_COMMAND.replace("\n", "\r\n"), newline="")
    (target / START).write_text(_START.replace("\n", "\r\n"), newline="")
    return [target / START, *sorted(path for path in place.rglob("*") if path.is_file())]


def _unpack(package: Path, place: Path) -> str:
    """Unpack Python and let it find what is beside it; its version, as ``3.13``."""
    try:
        with zipfile.ZipFile(package) as packed:
            names = packed.namelist()
            paths = [found for name in names if (found := _PATHS.fullmatch(name))]
            if len(paths) != 1 or "python.exe" not in names:
                raise UsageError(f"{package}: no Python for Windows that runs as it is", hint=_HINT)
            if any(name.startswith(("/", "\\")) or ".." in name or ":" in name for name in names):
                raise UsageError(f"{package}: a name in it leads elsewhere", hint=_HINT)
            if _machine(packed.read("python.exe")) != _AMD64:
                raise UsageError(f"{package}: not for 64-bit Windows on x86", hint=_HINT)
            packed.extractall(place)
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{package}: {error}", hint=_HINT) from None
    minor = paths[0][1]
    (place / paths[0][0]).write_text(f"python3{minor}.zip\r\n.\r\n..\\site\r\n", newline="")
    return f"3.{minor}"


def _machine(program: bytes) -> int:
    """The processor that a Windows program is for (PE format, COFF file header)."""
    header = int.from_bytes(program[0x3C:0x40], "little")
    if program[:2] != b"MZ" or program[header : header + 4] != b"PE\0\0":
        return 0
    return int.from_bytes(program[header + 4 : header + 6], "little")


def _install(own: Path, wheels: Sequence[Path], version: str, site: Path) -> None:
    """Install our wheel, and the locked ones that it needs, for Windows."""
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(site)]
    uv += ["--python-platform", PLATFORM, "--python-version", version, "--only-binary", ":all:"]
    links = {f"--find-links={wheel.parent}" for wheel in wheels}
    lock = resources.lock()
    for words in (["--require-hashes", "-r", str(lock)], ["--no-deps", str(own)]):
        done = subprocess.run([*uv, *links, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(
                f"what Windows needs is not to be had: {done.stderr.strip()[-500:]}",
                hint="have an index in reach, or the wheels for win_amd64 among --wheels",
            )
