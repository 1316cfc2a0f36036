"""What a calculus class expects, in the notebook. Slow: Sage is 4 GB."""

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import FORKED, Guest, books_layer, notebook_guest, sage_layer
from student import Kernel, Student
from toybook import BASE

from provision.config import Config

ATTEMPTS = """
cdef extern from '<unistd.h>':
    int setuid(int)
    long syscall(long, ...)
def attempts():
    return setuid(0), syscall(272, 0x10000000), syscall(101, 16, 1, 0, 0)
"""

# A number from each system that has some.
DRAW = """
import json, numpy, random as of_python
big = 10**15
print(json.dumps([str(each) for each in (
    of_python.random(), numpy.random.random(), random(), ZZ.random_element(big),
    RR.random_element(),
    pari(big).random(), gap.eval("Random([1..10^15])"),
    libgap.eval("Random([1..10^15])"), SymmetricGroup(30).random_element(),
    singular.eval("random(1, 1000000000)"), maxima(f"random({big})"), GF(2^61 - 1).random_element(),
    maxima_calculus(f"random({big})"), tmp_filename(), sage.misc.randstate.initial_seed())]))
"""

BOOK = {
    "factor": "sage.arith.misc.html#factor",
    "sin": "sage.functions.trig.html#Function_sin",
    "Integer.is_prime": "sage.rings.integer.html#Integer.is_prime",  # of a compiled module
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def classroom(layers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    scratch = tmp_path_factory.mktemp("sage")
    limits = {"memory": 3 << 30, "swap": 0, "cpu": 200, "tasks": 512, "files": 1024}
    limits |= {"file_size": 1 << 30, "tmp": 256 << 20, "disk": 0}
    variables = {
        "pool_accounts": ["nb1", "nb2"],
        "notebook_accounts": True,
        "notebook_limits": limits,
        "notebook_forked": FORKED,
        "notebook_network": "open",
    }
    below = [*layers, sage_layer(layers, scratch)]
    book = books_layer(below, scratch, Config.model_validate({"documentation": ("sage",)}))
    with notebook_guest([*below, book], scratch, variables) as guest:
        yield guest


@pytest.fixture(scope="module")
def sage(classroom: Guest) -> Kernel:
    return Student(classroom.url, "gauss").sign_in().start(240).kernel("sagemath")


def test_its_book_is_searched_and_has_its_size(classroom: Guest, sage: Kernel) -> None:
    student, base = Student(classroom.url, "gauss").sign_in(), f"/user/gauss/{BASE}"
    found = student.request("GET", f"{base}?q=integrate")
    first = found.partition(f'<a href="{base}sage/')[2].partition("</a>")[0]
    assert first == 'sage.misc.functional.html#integral">integrate'
    page = student.request("GET", f"{base}sage/sage.misc.functional.html")
    assert "Return an indefinite or definite integral" in page
    for name, address in BOOK.items():
        assert f'"{base}sage/{address}">{name}<' in student.request("GET", f"{base}?q={name}")
    place = "/opt/sage-current/share/documentation"
    pages, packed = classroom.run(f"ls {place} | wc -l; tar -chf - {place} | gzip | wc -c").split()
    assert int(pages) > 2000
    assert 5 * 10**6 < int(packed) < 14 * 10**6  # of 100 MB that all books together may have
    # What services have for themselves in there is not the book's.
    left = "ls -A -I 'systemd-private-*' /var/tmp /root/.sage 2>&1 | grep -v : || true"
    assert classroom.run(left).strip() == ""


def test_mesa_is_there_for_who_asks_only(classroom: Guest) -> None:
    classroom.run("apt-get check && ffmpeg -version")
    there = classroom.run("dpkg-query --show --showformat '${Package}\\n'").split()
    assert "appliance-no-mesa" in there
    assert not [name for name in there if "llvm" in name or name == "mesa-libgallium"]
    told = classroom.run("apt-get --simulate install mesa-libgallium")
    assert re.search("Inst mesa-libgallium", told)
    assert "Remv" not in told


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
        ("import pandas; pandas.Series([1, 2]).sum()", "3"),
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


def test_the_first_notebook_is_sages_and_runs(classroom: Guest, sage: Kernel) -> None:
    """What Sage's own numbers do to Python's library is in it, too."""
    notebook = sage.student.server("GET", "contents/First%20steps.ipynb")["content"]
    assert notebook["metadata"]["kernelspec"]["name"] == "sagemath"
    cells = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
    shown = [sage.run(cell, 240) for cell in cells]
    assert not [told for told in shown if "Error" in told and "usage.json" not in told]
    assert any("time.sleep(0.5r)" in cell for cell in cells)
    assert "TypeError" in sage.run("from fractions import Fraction; Fraction(1, 3)")
    assert any("1/3" in told or "Fraction(1, 3)" in told for told in shown)


def test_compiled_code_gets_no_further(sage: Kernel) -> None:
    """What %%cython makes is machine code, which asks the kernel without Python in between."""
    sage.run(f"%%cython\n{ATTEMPTS}", 600)
    assert sage.run("attempts()", 60) == "(-1, -1, -1)"  # root, unshare(CLONE_NEWUSER), ptrace


@pytest.mark.forked
def test_two_students_draw_different_numbers(classroom: Guest, sage: Kernel) -> None:
    """First ones, from every system; who forks their kernels is Sage's nursery."""
    nursery = classroom.run("systemctl show -P MainPID nursery@sage-*.service").strip()
    other = Student(classroom.url, "noether").sign_in().start(240)
    drawn = []
    for student in (sage.student, sage.student, other):  # two kernels of one differ, too
        kernel = student.kernel("sagemath")
        assert kernel.run("import os; os.getppid()", 240) == nursery
        drawn.append(json.loads(kernel.run(DRAW, 240)))
        student.server("DELETE", f"kernels/{kernel.id}")
    other.stop()
    same = [place for place, each in enumerate(zip(*drawn, strict=True)) if len(set(each)) < 3]
    assert same == [], drawn


@pytest.mark.forked
def test_a_forked_kernel_knows_nothing_of_its_nursery(sage: Kernel) -> None:
    """Home, temporary directory and number are the session's."""
    told = sage.run(
        "import gc\nfor o in gc.get_objects():\n"
        "    for v in (o.values() if type(o) is dict else o if type(o) in (list, tuple) else ()):\n"
        "        if type(v) is str and v[5:13] == 'home-of-': print(v)",
        60,
    )
    assert told == ""
    assert sage.run("from sage.env import DOT_SAGE; print(DOT_SAGE)", 60).strip().endswith("/.sage")
    told = sage.run("sage.libs.ecl.ecl_eval('(list maxima::*maxima-userdir* (ext:getcwd))')", 60)
    assert "home-of-the" not in told
    assert told.count("/home/nb1") == 2, told
    assert "inline" in sage.run("import matplotlib.pyplot as p; print(p.get_backend())", 60)
    told = sage.run(
        "print(libgap.eval('[GAPInfo.RootPaths, GAPInfo.UserHome, DirectoryCurrent(),"
        " GAPInfo.SystemEnvironment, GAPInfo.KernelInfo.ENVIRONMENT]'))",
        60,
    )
    assert "home-of-the" not in told
    assert told.count('HOME := "/home/nb1/work"') == 2, told
    assert '"/home/nb1/work/.gap/"' in told


@pytest.mark.forked
def test_who_has_a_gap_of_the_own_starts_it(classroom: Guest, sage: Kernel) -> None:
    """What GAP reads as it begins is read: such a kernel is not forked, but is none the less."""
    sage.run("import os; os.mkdir(f'{os.environ[\"HOME\"]}/.gap')", 60)
    sage.run("open(f'{os.environ[\"HOME\"]}/.gap/gaprc', 'w').write('own := 4711;;')", 60)
    own = sage.student.kernel("sagemath")
    assert own.run("print(libgap.eval('own'))", 240).strip() == "4711"
    sage.run("import shutil; shutil.rmtree(f'{os.environ[\"HOME\"]}/.gap')", 60)
    sage.student.server("DELETE", f"kernels/{own.id}")


def test_what_three_dimensions_need_is_served_here(classroom: Guest) -> None:
    version = classroom.run("ls /opt/sage-current/share/jupyter/nbextensions/threejs-sage").split()
    url = f"{classroom.url}/nbextensions/threejs-sage/{version[-1]}/three.min.js"
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert b"WebGLRenderer" in answer.read()
    with pytest.raises(urllib.error.HTTPError):
        outside = "%2e%2e/%2e%2e/%2e%2e/%2e%2e/bin/python"
        urllib.request.urlopen(f"{classroom.url}/nbextensions/threejs-sage/{outside}", timeout=60)


def test_jmol_finds_its_program_here(classroom: Guest, sage: Kernel) -> None:
    """The scene is in the answer; its frame was empty where the program is not served."""
    told = sage.run("sphere().show(viewer='jmol')", 120)
    assert "pmesh" in told
    found = re.search(r"/nbextensions/jupyter-jsmol/jsmol\b", told)
    assert found is not None
    for part in ("JSmol.min.js", "j2s/core/corejmol.z.js", "j2s/J/shapesurface/Pmesh.js"):
        with urllib.request.urlopen(f"{classroom.url}{found[0]}/{part}", timeout=60) as answer:
            assert len(answer.read()) > 1000


def test_an_open_network_is_open(classroom: Guest, sage: Kernel) -> None:
    """The host's loopback is the guest's gateway."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"{classroom.gateway()!r}, int({server.getsockname()[1]})"
        told = sage.run(f"import socket; socket.create_connection(({place}), int(10)).close()", 60)
    assert told == ""
