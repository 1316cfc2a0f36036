"""What is imported before a fork, so that no child has to."""

import contextlib
import importlib
import importlib.util
import sys
from typing import Any

# What a kernel has after its first cells, besides what these import: of Python, of what its
# notebooks import if it is there, and of Sage.
PYTHON = (
    *("ipykernel.debugger", "ipykernel.heartbeat", "ipykernel.ipkernel", "ipykernel.kernelapp"),
    *("ipykernel.zmqshell", "IPython.core.completerlib", "IPython.extensions.storemagic"),
    *("encodings.idna", "http.server", "psutil", "sqlite3"),
    *("matplotlib.pyplot", "matplotlib.figure", "matplotlib.font_manager", "PIL.PngImagePlugin"),
    *("matplotlib.backends.backend_agg", "sympy"),
)
PLAIN = ("pandas", "scipy.optimize", "scipy.stats")  # Sage's notebooks seldom do
SAGE = (
    *("sage.repl.ipython_kernel.kernel", "sage.all_cmdline", "sage.repl.ipython_kernel.widgets"),
    *("sage.repl.ipython_kernel.all_jupyter", "sage.repl.ipython_kernel.interact"),
    *("sage.repl.display.formatter", "sage.repl.display.util", "sage.repl.interface_magic"),
    *("sage.repl.rich_output.backend_ipython", "sage.ext.interpreters.wrapper_cdf"),
    *("sage.plot.plot", "sage.plot.graphics", "sage.interfaces.sympy", "flint"),
    "sage.interfaces.maxima_lib",  # which integrates; half of what five first cells take
    "sage.libs.gap.libgap",  # of groups; begun below
    *("sage.rings.factorint_pari", "sage.libs.pari.convert_sage", "sage.symbolic.subring"),
    *("sage.symbolic.expression_conversions", "sage.symbolic.expression_conversion_sympy"),
)


def load_language() -> None:
    """Import the language of this environment: Sage's where it has Sage, else Python's."""
    if importlib.util.find_spec("sage"):
        load_sage()
    else:
        load_all(PLAIN)
    load_all(PYTHON)


def load_sage() -> None:
    """Import Sage, and begin what its first cells would begin."""
    load_all(SAGE)
    if features := sys.modules.get("sage.features"):
        # Asked by a kernel's first display, which by the way lacks something: three
        # programs and a hundred processes of theirs. What they say is kept.
        features.package_systems()
    if gap := sys.modules.get("sage.libs.gap.libgap"):
        # It begins at its first value: a fifth of a second and 90 MiB for each child.
        gap.libgap(1)


def load_all(names: tuple[str, ...]) -> None:
    """Import modules as far as this environment has them."""
    for name in names:
        load(name)


def load(name: str) -> Any:
    """Import a module as far as this environment has it."""
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None
