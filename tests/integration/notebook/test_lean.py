"""Sage's own doctests before and after Sage is made lean, in the same guest. Slow.

    DOCTESTS=all pytest -m slow -s tests/integration/notebook/test_lean.py

runs all of them, which takes hours, instead of a selection that leads through every library.
"""

import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guest import Guest, booted, sage_layer

from provision import resources

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ALL = os.environ.get("DOCTESTS") == "all"
HOURS = 12
SELECTION = (
    *("crypto/lattice.py", "databases/conway.py", "databases/cremona.py"),
    *("functions/prime_pi.pyx", "graphs/base/boost_graph.pyx", "groups/libgap_wrapper.pyx"),
    *("interfaces/gp.py", "interfaces/singular.py", "lfunctions/lcalc.py"),
    *("libs/ecl.pyx", "libs/gap/libgap.pyx", "libs/singular/function.pyx"),
    *("libs/ntl/ntl_ZZX.pyx", "matrix/matrix_double_dense.pyx", "misc/cython.py"),
    *("matrix/matrix_gf2e_dense.pyx", "matrix/matrix_modn_dense_double.pyx"),
    *("misc/sageinspect.py", "modules/free_module_integer.py", "rings/real_arb.pyx"),
    *("numerical/backends/glpk_backend.pyx", "symbolic/integration/integral.py"),
    *("schemes/elliptic_curves/ell_rational_field.py", "tests/cython.pyx"),
)
FAILED = re.compile(r'^File "(.+)", line (\d+), in .+\nFailed example:', re.MULTILINE)
ENDED = re.compile(r"^sage -t .* (\S+)  # (?!\d+ doctests? failed)(.+)$", re.MULTILINE)
PREFIX = "/opt/sage-10.8"


@dataclass(frozen=True)
class Doctests:
    """What a run of Sage's doctests came to.

    Args:
        counts: how many tests each module has.
        failed: file and line of each that failed.
        ended: files whose tests did not come to an end, and how.
    """

    counts: dict[str, int]
    failed: list[tuple[str, str]]
    ended: list[tuple[str, str]]


@pytest.fixture(scope="module")
def whole(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A guest with a Sage of which nothing was left out."""
    scratch = tmp_path_factory.mktemp("whole")
    sage = sage_layer(layers, scratch, lean=False)
    with booted([*layers, sage], scratch / "upper", forwards={}, log=scratch / "log") as (_, root):
        yield Guest("", root)


def doctests(guest: Guest, name: str) -> Doctests:
    """Run the doctests, or our selection, with the same seed and fresh settings each time."""
    guest.run(f"mkdir -p /var/tmp/{name}")
    site = guest.run(f"cd {PREFIX}/lib/python3*/site-packages && pwd").strip()
    files = "--installed" if ALL else shlex.join(f"sage/{each}" for each in SELECTION)
    guest.run(
        f"cd {site} && HOME=/var/tmp/{name} {PREFIX}/bin/sage -t -p 2 -T 600 --random-seed 0"
        f" --stats_path /var/tmp/{name}/stats.json --logfile /var/tmp/{name}/log {files}"
        " > /var/tmp/out 2>&1 || true",
        HOURS * 3600,
    )
    stats = json.loads(guest.run(f"cat /var/tmp/{name}/stats.json"))
    log = guest.run(f"cat /var/tmp/{name}/log")
    counts = {module: each.get("ntests", 0) for module, each in stats.items()}
    return Doctests(counts, sorted(FAILED.findall(log)), sorted(ENDED.findall(log)))


def size(guest: Guest) -> int:
    return int(guest.run(f"du -sm {PREFIX}").split()[0])


def test_the_same_doctests_pass_and_fail(whole: Guest) -> None:
    large = size(whole)
    before = doctests(whole, "before")
    program = (resources.PACKAGE / "guest/sage/lean.py").read_text()
    whole.run(f"python3 - {PREFIX} <<'END OF LEAN.PY'\n{program}\nEND OF LEAN.PY\n", 600)
    small = size(whole)
    after = doctests(whole, "after")
    print(  # noqa: T201
        f"\n{sum(before.counts.values())} doctests of {len(before.counts)} modules,"
        f" {len(before.failed)} fail in both; {large} MB -> {small} MB, {small / large:.2f}"
    )
    assert after == before
    assert sum(before.counts.values()) > 3000
    assert small < 0.45 * large
