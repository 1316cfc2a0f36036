"""A small real Sage: a Python environment with the interface that students and upgrades use."""

import subprocess
from pathlib import Path

ALL = '''
"""What `import sage.all` brings."""
import math
sin = math.sin
VERSION = "%(version)s"
KNOWN = (7432339208719, 341117531003194129)


def factor(number):
    found, divisor = [], 2
    for known in KNOWN:
        if number %% known == 0:
            found.append(known)
            number //= known
    while number > 1:
        if number %% divisor:
            divisor += 1
        else:
            found.append(divisor)
            number //= divisor
    return Product(found) if %(right)r else Product([1])


class Product(list):
    def __repr__(self):
        return " * ".join(map(str, self))


class plot:
    def __init__(self, function, begin, end):
        pass

    def save(self, name):
        open(name, "wb").write(b"\\x89PNG\\r\\n")
'''
KERNEL = '''
"""The kernel: `python -m sage.repl.ipython_kernel -f FILE`."""
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from sage import all as everything


class SageKernel(IPythonKernel):
    def __init__(self, **options):
        super().__init__(**options)
        self.shell.user_ns.update(vars(everything))
        self.shell.input_transformers_cleanup.append(
            lambda lines: lines if lines and lines[0].startswith("%%%%") else
            [line.replace("^", "**") for line in lines]
        )
        self.shell.register_magic_function(self.cython, "cell", "cython")

    def cython(self, line, cell):
        exec(cell.replace("int n", "n"), self.shell.user_ns)


if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=SageKernel)
'''
TOOL = """#!/bin/sh
exec /opt/sage-%(version)s/bin/python -c 'from sage.all import *; print(VERSION)'
"""


def tree(
    place: Path, version: str, python: str, *, right: bool = True, starts: bool = True
) -> Path:
    """Make one version's directory.

    Args:
        place: the directory; its name in a guest is ``/opt/sage-VERSION``.
        version: of it.
        python: the guest's, as ``python3.13``.
        right: whether it can factor.
        starts: whether its kernel starts.
    """
    packages = place / "lib" / python / "site-packages"
    package = packages / "sage"
    (package / "repl").mkdir(parents=True)
    (place / "bin").mkdir()
    (place / "bin/python").symlink_to("/usr/bin/python3")
    (place / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (packages / "notebook.pth").write_text(f"/opt/notebook/lib/{python}/site-packages\n")
    values = {"version": version, "right": right}
    (package / "__init__.py").write_text("")
    (package / "all.py").write_text(ALL % values)
    (package / "repl/__init__.py").write_text("")
    kernel = KERNEL % () if starts else "raise SystemExit('this Sage does not start')\n"
    (package / "repl/ipython_kernel.py").write_text(kernel)
    tool = place / "bin/sage"
    tool.write_text(TOOL % values)
    tool.chmod(0o755)
    return place


def packed(place: Path, target: Path) -> Path:
    """Pack a version as .tar.zst, below one directory."""
    argv = ["tar", "-C", place.parent, "--zstd", "-cf", target, place.name]
    subprocess.run(argv, check=True)
    return target
