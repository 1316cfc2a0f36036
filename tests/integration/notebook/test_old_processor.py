"""Sage on a processor of 2008, without AVX, BMI2 and ADX, meets no illegal instruction. Slow."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Guest, machine_disks, sage_layer

from provision.config import Config
from provision.jeos.layers import private_mounts
from provision.machine import qemu
from provision.machine.qemu import QemuMachine
from provision.machine.ssh import connect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PROCESSOR = "Nehalem"
WORK = {
    "arithmetic": "assert factor(2^67 - 1).value() == 2^67 - 1",
    "calculus": "assert integrate(x * sin(x), x) == -x*cos(x) + sin(x)",
    "plot": "plot(sin, 0, 1).save('/tmp/p.png')",
    "linear algebra": "m = random_matrix(ZZ, 20); m.charpoly(); m * m; m.det(algorithm='pari');"
    " random_matrix(RDF, 60).eigenvalues(); random_matrix(GF(7), 99).rank()",
    "FLINT": "random_matrix(ZZ, 20).det(); R.<t> = ZZ[]; ((t + 2^200)^40 * (t - 3)^40).factor();"
    " RealBallField(500)(2).sqrt().exp(); n = 3^5000 * 7^4000; n * (n + 1)",
    "floating point": "import numpy, scipy.linalg; scipy.linalg.inv(numpy.eye(99))",
    "GAP": "assert gap('Size(SymmetricGroup(5))') == 120; SymmetricGroup(6).order()",
    "Maxima": "assert maxima('integrate(x^2, x)').sage() == x^3 / 3",
    "Singular": "R.<a,b> = QQ[]; assert len(ideal(a^2 - b, b^2 - 1).groebner_basis()) == 2",
    "PARI": "assert pari('ellinit([0,1])').ellglobalred()[0] == 36",
    "curves": "assert EllipticCurve('37a').rank() == 1",
}


@pytest.fixture(scope="module")
def old(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    private_mounts()
    scratch = tmp_path_factory.mktemp("processor")
    sage = sage_layer(layers, scratch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qemu, "_cpu", lambda accelerator: PROCESSOR)
        disks = machine_disks([*layers, sage], scratch, Config(), {})
        with QemuMachine(disks, memory=4 << 30) as machine, connect(machine.start()) as client:
            yield Guest("", client)


def test_the_processor_lacks_avx(old: Guest) -> None:
    flags = old.run("grep -m1 ^flags /proc/cpuinfo").split()
    assert "sse4_2" in flags
    assert not {"avx", "bmi2", "adx"} & set(flags)


def test_sage_starts(old: Guest) -> None:
    assert old.run("sage -c 'print(2 + 2)'", 900).strip() == "4"


def test_sage_computes(old: Guest) -> None:
    code = f"""
from sage.all import *
from sage.repl.preparse import preparse
import json, os
for name, text in json.loads({json.dumps(json.dumps(WORK))}).items():
    child = os.fork()
    if child == 0:
        exec(preparse(text))
        os._exit(0)
    print(name, os.waitpid(child, 0)[1], sep=": ", flush=True)
"""
    shown = old.run(f"/opt/sage-current/bin/python -c {shlex.quote(code)} 2> /dev/null", 1800)
    told = dict(line.split(": ") for line in shown.splitlines() if ": " in line)
    assert told == dict.fromkeys(WORK, "0")
