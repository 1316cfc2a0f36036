"""The parts of ``appliance.yml`` that say what notebooks are computed by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from provision.config import values
from provision.config.section import Section

Name = Literal["python", "sage", "bash", "r", "octave", "julia"]

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

    forked: bool | None = None
    """sessions and kernels are forked, not started; null: where memory holds what these share"""
    python: Python = Python()
    """Python, which is always there"""
    bash: bool = False
    """bash"""
    r: bool = False
    """R, from the distribution"""
    octave: bool = False
    """GNU Octave, from the distribution"""
    julia: Julia | None = None
    """Julia with IJulia and Plots"""


@dataclass(frozen=True)
class Language:
    """A language that notebooks may have besides Python and Sage; ``{version}`` is its own.

    Args:
        title: what its notebooks are called.
        module: of its kernel, where that is a Python package: role kernels, requirements.in.
        argv: what starts its kernel otherwise, but for the file of the connection.
        kernel: the kernel's name, where it is not the language's.
        code: what Jupyter calls the language, where that is another word.
        env: of its kernel.
        packages: of the distribution.
        brought: what is there once packages have brought it; patterns.
    """

    title: str
    module: str = ""
    argv: tuple[str, ...] = ()
    kernel: str = ""
    code: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    brought: tuple[str, ...] = ()


LANGUAGES: Mapping[str, Language] = {
    "bash": Language("Bash", module="bash_kernel"),
    "r": Language(
        "R",
        argv=("/usr/bin/R", "--no-echo", "-e", "IRkernel::main()", "--args"),
        kernel="ir",
        code="R",
        packages=("r-base-core", "r-cran-irkernel"),
        brought=("/usr/bin/R",),
    ),
    "octave": Language(
        "Octave",
        module="octave_kernel",
        env={"OCTAVE_EXECUTABLE": "/usr/bin/octave-cli"},
        # Without fonts and Ghostscript, which the distribution only recommends, it draws nothing.
        packages=("fonts-freefont-otf", "ghostscript", "gnuplot-nox", "octave"),
        brought=("/usr/bin/octave-cli",),
    ),
    "julia": Language(
        "Julia {version}",
        argv=(
            *("/opt/julia-{version}/bin/julia", "-i", "--color=yes", "-e"),
            "import IJulia; isdefined(IJulia, :run_kernel) ? IJulia.run_kernel()"
            ' : include(joinpath(dirname(pathof(IJulia)), "kernel.jl"))',
        ),
        # The empty first part is the student's own depot: what a student adds goes there.
        # Without a screen, pictures are drawn into files.
        env={"JULIA_DEPOT_PATH": ":/opt/julia-{version}/depot", "GKSwstype": "100"},
        brought=("/opt/julia-{version}/depot",),
    ),
}
_KERNELS = {"python": "python3", "sage": "sagemath"}


def kernel_of(language: str) -> str:
    """The name of a language's kernel, or what the names of its kernels begin with."""
    return _KERNELS.get(language) or LANGUAGES[language].kernel or language


def further(kernels: Kernels) -> list[dict[str, Any]]:
    """The further languages of a configuration, in the terms of the role kernels."""
    wanted = {name: getattr(kernels, name) for name in LANGUAGES}
    return [_describe(name, getattr(is_, "version", "")) for name, is_ in wanted.items() if is_]


def _describe(name: str, version: str) -> dict[str, Any]:
    def own(text: str) -> str:
        return text.replace("{version}", version)

    known = LANGUAGES[name]
    argv = ("/opt/kernels/bin/python", "-m", known.module, "-f") if known.module else known.argv
    module = f"/opt/kernels/lib/python3*/site-packages/{known.module}"
    spec = {
        "argv": [*map(own, argv), "{connection_file}"],
        "display_name": own(known.title),
        "language": known.code or name,
        "metadata": {"debugger": False},
    }
    return {
        "name": f"{name} {version}".strip(),
        "kernel": kernel_of(name),
        "module": known.module,
        "packages": list(known.packages),
        "brought": [own(each) for each in (*known.brought, *([module] * bool(known.module)))],
        "spec": spec | ({"env": {k: own(v) for k, v in known.env.items()}} if known.env else {}),
    }
