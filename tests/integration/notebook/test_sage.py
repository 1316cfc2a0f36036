"""What a calculus class expects, in the notebook. Slow: Sage is 4 GB."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import notebook_guest, sage_layer
from student import Kernel, Student

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def sage(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    scratch = tmp_path_factory.mktemp("sage")
    limits = {"memory": 3 << 30, "swap": 0, "cpu": 200, "tasks": 512, "files": 1024}
    limits |= {"file_size": 1 << 30, "tmp": 256 << 20, "disk": 0}
    variables = {
        "pool_accounts": ["nb1"],
        "notebook_accounts": True,
        "notebook_limits": limits,
    }
    with notebook_guest([*layers, sage_layer(layers, scratch)], scratch, variables) as guest:
        yield Student(guest.url, "gauss").sign_in().start(240).kernel("sagemath")


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("2 + 2", "4"),
        ("factor(2^67 - 1)", "193707721 * 761838257287"),
        ("integrate(x * sin(x), x)", "-x*cos(x) + sin(x)"),
        ("limit(sin(x) / x, x=0)", "1"),
        ("solve(x^2 == 2, x)", "sqrt(2)"),
        ("matrix([[1, 2], [3, 4]]).det()", "-2"),
        ("gap('Size(SymmetricGroup(5))')", "120"),
        ("maxima('integrate(x^2, x)')", "x^3/3"),
        ("singular.eval('ring r = 0,x,dp; factorize(x^2-1);')", "x"),
        ("pari('ellinit([0,1])').ellglobalred()[0]", "36"),
        ("plot(sin, 0, 1)", "iVBOR"),
        ("sphere()", "three"),
        ("%display latex\nintegrate(x, x)", "\\frac{1}{2}"),
        ("%display plain\n1/3", "1/3"),
        ("%%cython\ndef double(int n):\n    return 2 * n", ""),
        ("double(21)", "42"),
        ("@interact\ndef show(n=(1, 10)):\n    print(n)", "Interactive"),
        ("animate([plot(x + n, (x, 0, 1)) for n in range(2)]).show()", ""),
    ],
)
def test_the_notebook_computes(sage: Kernel, code: str, shown: str) -> None:
    told = sage.run(code, 600)
    assert shown in told
    assert "Error" not in told
