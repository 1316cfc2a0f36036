"""Sage on a processor of 2008, without AVX: no student meets an illegal instruction. Slow."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import sage_layer

from provision.jeos.layers import merged, private_mounts
from provision.process import require, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# QEMU raises an illegal instruction, as the processor would, for what the model does not have.
PROCESSOR = "Nehalem"
WORK = {
    "import": "",
    "arithmetic": "assert 2 + 2 == 4 and factor(2^67 - 1).value() == 2^67 - 1",
    "calculus": "assert integrate(x * sin(x), x) == -x*cos(x) + sin(x)",
    "plot": "plot(sin, 0, 1).save('/tmp/p.png')",
    "linear algebra": "assert random_matrix(ZZ, 60).det().parent() is ZZ;"
    " random_matrix(RDF, 60).eigenvalues(); random_matrix(GF(7), 99).rank()",
    "floating point": "import numpy, scipy.linalg; scipy.linalg.inv(numpy.eye(99))",
    "GAP": "assert gap('Size(SymmetricGroup(5))') == 120; SymmetricGroup(6).order()",
    "Singular": "R.<a,b> = QQ[]; assert len(ideal(a^2 - b, b^2 - 1).groebner_basis()) == 2",
    "PARI": "assert pari('ellinit([0,1])').ellglobalred()[0] == 36",
    "curves": "assert EllipticCurve('37a').rank() == 1",
    "flint": "assert (ZZ['z'].random_element(400) * ZZ['z'].random_element(400)).degree() <= 800",
}


@pytest.fixture(scope="module")
def tree(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    private_mounts()
    scratch = tmp_path_factory.mktemp("processor")
    with merged([*layers, sage_layer(layers, scratch)], scratch / "upper") as tree:
        for name in ("proc", "dev"):
            run(["mount", "--rbind", f"/{name}", str(tree / name)])
        emulator = Path(require("qemu-x86_64-static", "qemu-user-static"))
        (tree / "usr/bin/qemu-x86_64-static").write_bytes(emulator.read_bytes())
        (tree / "usr/bin/qemu-x86_64-static").chmod(0o755)
        yield tree


def _sage(tree: Path, code: str) -> str:
    """Run Sage's Python under the emulated processor; programs that it starts run natively."""
    return run(
        [
            *("chroot", str(tree), "/usr/bin/env", "-i", "HOME=/tmp", "PATH=/usr/bin:/bin"),
            *("/usr/bin/qemu-x86_64-static", "-cpu", PROCESSOR),
            *("/opt/sage-current/bin/python", "-c", code),
        ]
    )


def test_the_processor_really_lacks_avx(tree: Path) -> None:
    code = (
        "from numpy._core._multiarray_umath import __cpu_features__ as has;"
        "print([name for name in ('AVX', 'SSE42') if has[name]])"
    )
    assert _sage(tree, code).strip() == "['SSE42']"


def test_sage_computes(tree: Path) -> None:
    code = f"""
import json
from sage.all import *
from sage.repl.preparse import preparse
for name, text in json.loads({json.dumps(json.dumps(WORK))}).items():
    print(name, flush=True)
    exec(preparse(text))
print("well")
"""
    assert _sage(tree, code).split("\n")[-2] == "well"
