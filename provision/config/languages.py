"""The parts of ``appliance.yml`` that say what notebooks are computed by."""

from typing import Literal

from provision.config import values
from provision.config.section import Section

# What the tested lists of wheels hold (roles kernels and sage): others need a list of their own.
PYTHON_PACKAGES = ("matplotlib", "numpy", "pandas", "scipy", "sympy")
SAGE_PACKAGES = ("pandas",)


class Sage(Section):
    """Which Sage goes into /opt/sage-VERSION."""

    source: Literal["none", "passagemath", "debian", "tarball"] = "passagemath"
    """none: Python kernel only; passagemath: wheels; debian: the suite's package; tarball"""
    version: values.Version | None = None
    """null: the version that we have tested; required for a tarball, and with a lock"""
    lock: values.HostFile | None = None
    """passagemath: file with its wheels and their hashes, for pip; null: the tested ones"""
    packages: tuple[values.PythonPackage, ...] = SAGE_PACKAGES
    """passagemath: what Sage's Python has besides; more than this needs a lock that has it"""
    path: values.HostFile | None = None
    """tarball: file on this host"""
    url: values.Url | None = None
    """tarball: where to download it"""
    sha256: values.Sha256 | None = None
    """tarball: its checksum; required with url"""
    lean: bool = True
    """leave out of it what docs/sage.md names; false: keep all, more than twice as large"""


class Julia(Section):
    """Julia, from an upstream tarball."""

    version: values.Version
    """its version, as in 1.12.1"""
    path: values.HostFile | None = None
    """file on this host"""
    url: values.Url | None = None
    """where to download it"""
    sha256: values.Sha256
    """its checksum"""


class Python(Section):
    """What notebooks of the kernel Python 3 can import."""

    packages: tuple[values.PythonPackage, ...] = PYTHON_PACKAGES
    """packages from PyPI, in an environment of their own; others than these need a lock"""
    lock: values.HostFile | None = None
    """file with their wheels and hashes, which appliance lock writes; null: the tested ones"""


class Kernels(Section):
    """Further languages, besides Sage, the packages of Python, and how kernels start."""

    forked: bool = False
    """Python's and Sage's kernels are forked from a process that has them in memory already"""
    python: Python = Python()
    """Python, which is always there"""
    bash: bool = False
    """bash"""
    r: bool = False
    """R, from the distribution"""
    octave: bool = False
    """GNU Octave, from the distribution"""
    julia: Julia | None = None
    """Julia with IJulia"""
