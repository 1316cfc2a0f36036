"""Limits of groups and students, profiles, languages."""

import json
import os
import re
import time

import pytest
from guest import FORKED, Guest
from student import RefusedError, Student

pytestmark = pytest.mark.slow

GIB = 1 << 30
JULIA = os.environ.get("JULIA") and 'println("started by julia")'


def limits(hosted: Guest, account: str) -> dict[str, str]:
    """What the system's manager holds an account to."""
    shown = hosted.run(
        f"systemctl show -p MemoryMax,CPUQuotaPerSecUSec user-$(id -u {account}).slice"
    )
    return dict(line.split("=", 1) for line in shown.splitlines())


def account_of(hosted: Guest, student: str) -> str:
    told = dict(reversed(line.split()) for line in hosted.run("notebook-sessions").splitlines())
    return told[student].split("@")[0]


def test_groups_and_students_have_limits_of_their_own(hosted: Guest) -> None:
    emmy = Student(hosted.url, "emmy").sign_in().start()
    account = account_of(hosted, "emmy")
    assert limits(hosted, account)["MemoryMax"] == str(2 * GIB)
    emmy.stop()
    # Whoever comes next on that account has what everybody has.
    felix = Student(hosted.url, "felix").sign_in().start()
    assert account_of(hosted, "felix") == account
    assert limits(hosted, account) == {"MemoryMax": str(GIB), "CPUQuotaPerSecUSec": "1s"}
    felix.stop()
    sonja = Student(hosted.url, "sonja").sign_in().start()
    shown = limits(hosted, account_of(hosted, "sonja"))
    assert shown == {"MemoryMax": str(GIB), "CPUQuotaPerSecUSec": "500ms"}
    sonja.stop()


def test_a_profile_decides_languages_and_limits(hosted: Guest) -> None:
    bernhard = Student(hosted.url, "bernhard").sign_in()
    bernhard.json("POST", "/hub/api/users/bernhard/server", {"profile": "stats"})
    bernhard.start()
    specs = bernhard.server("GET", "kernelspecs")["kernelspecs"]
    assert set(specs) == {"ir"}
    assert "FALSE" in bernhard.kernel("ir").run("file.exists('/run/nursery')")  # forked: false
    assert limits(hosted, account_of(hosted, "bernhard"))["MemoryMax"] == str(3 * GIB // 2)
    bernhard.stop()


def test_an_unknown_profile_is_refused(hosted: Guest) -> None:
    ada = Student(hosted.url, "ada").sign_in()
    with pytest.raises(RefusedError, match="There is no profile"):
        ada.json("POST", "/hub/api/users/ada/server", {"profile": "../root"})


def test_a_profile_that_was_taken_away_leaves_the_choice(hosted: Guest) -> None:
    """A server that was started with it would ask for it at every later start."""
    kurt = Student(hosted.url, "kurt").sign_in()
    kurt.json("POST", "/hub/api/users/kurt/server", {"profile": "stats"})
    kurt.start().stop()
    settings = "/etc/notebook/guest.json"
    with hosted.keeping(settings, then="systemctl restart notebook"):
        hosted.run(f'sed -i \'s/"stats"/"other"/\' {settings}; systemctl restart notebook')
        hosted.wait()
        with pytest.raises(RefusedError, match="There is no profile 'stats'") as refused:
            kurt.json("POST", "/hub/api/users/kurt/server", {})
        assert refused.value.status == 400
        with pytest.raises(RefusedError, match="HTTP 400") as refused:
            kurt.request("GET", "/hub/spawn?profile=stats")
        assert "There is no profile" in refused.value.body
        assert 'value="other"' in refused.value.body
        kurt.start().stop()
    hosted.wait()


@pytest.mark.parametrize(
    ("kernel", "code", "expected"),
    [
        ("bash", "echo $((6 * 7)); whoami", "42\nnb"),
        ("ir", "cat(6 * 7, mean(c(1, 2, 6)))", "42 3"),
        ("octave", "x = det([1 2; 3 4])", "-2"),
        # Of bash, which stands in for it where $JULIA names no tarball; see conftest.py.
        ("julia", JULIA or "echo started by julia", "started by julia"),
        ("python3", "6 * 7", "42"),
    ],
)
def test_every_language_computes(hosted: Guest, kernel: str, code: str, expected: str) -> None:
    grace = Student(hosted.url, "grace").sign_in().start()
    assert expected in grace.kernel(kernel).run(code, 120)
    grace.stop()


@pytest.mark.parametrize(
    ("kernel", "code"),
    [
        ("bash", "gnuplot -e 'set terminal png; plot sin(x)' | display"),
        ("ir", "plot(1:10, main = 'Größe')"),
        ("octave", "x = 0:0.1:7; plot(x, sin(x)); title('Größe'); legend('sin')"),
        ("octave", "surf(peaks)"),
        ("python3", "import matplotlib.pyplot as p, numpy\np.plot(numpy.sin([1, 2]));"),
        ("python3", "import pandas as p; p.Series([1, 3, 2]).plot(title='Größe');"),
        *([("julia", 'using Plots; plot(sin, 0, 7, fmt = :png, title = "Größe")')] * bool(JULIA)),
    ],
)
def test_every_language_draws(hosted: Guest, kernel: str, code: str) -> None:
    grace = Student(hosted.url, "grace").sign_in().start()
    told = grace.kernel(kernel).run(code, 120)
    assert "iVBOR" in told  # a PNG, in base64
    assert not re.search("error|unable|warning|no font", told, re.I), told
    grace.stop()


def test_python_has_what_notebooks_from_elsewhere_import(hosted: Guest) -> None:
    grace = Student(hosted.url, "grace").sign_in().start()
    kernel = grace.kernel("python3")
    nursery = hosted.run("systemctl show -P MainPID nursery@python").strip()
    assert (kernel.run("import os; os.getppid()") == nursery) is FORKED
    assert kernel.run("import scipy.integrate as i; round(i.quad(lambda x: x, 0, 2)[0])") == "2"
    assert "<table" in kernel.run("import pandas; pandas.DataFrame({'a': [1]})")
    assert "x^{2}" in kernel.run("import sympy; sympy.init_printing(); sympy.Symbol('x') ** 2")
    assert "IntSlider" in kernel.run("import ipywidgets; ipywidgets.IntSlider()")
    assert "Python has `numpy`" in kernel.shell("cat 'First steps.ipynb'")
    grace.stop()


def test_a_traceback_names_the_python_that_it_is_in(hosted: Guest) -> None:
    code = "from jedi.cache import clear_time_caches as it; print(it.__code__.co_filename)"
    assert hosted.run(f"/opt/python/bin/python -c '{code}'").startswith("/opt/python/lib/")


def test_consoles_are_in_the_terminal(hosted: Guest) -> None:
    grace = Student(hosted.url, "grace").sign_in().start()
    kernel = grace.kernel()
    asked = "R --version | head -1; octave-cli --eval 'disp(6*7)'; julia; python3 -c 'print(6*7)'"
    told = kernel.shell(asked, 120)
    assert "R version" in told
    assert told.count("42") == 2
    assert "julia version" in told
    grace.stop()


def test_a_session_reads_what_it_has_left(hosted: Guest) -> None:
    emmy = Student(hosted.url, "emmy").sign_in().start()
    deadline = time.monotonic() + 60
    told = {}
    while told.get("student") != "emmy":  # it is known some seconds after the start
        assert time.monotonic() < deadline, told
        told = json.loads(emmy.request("GET", "/user/emmy/api/appliance/usage"))
        time.sleep(0.5)
    assert told["memory"]["used"] > 10 << 20
    assert told["disk"]["limit"] == 300 << 20
    assert 0 < told["left"] <= 43200
    assert emmy.kernel().shell("ls /run/usage; touch /run/usage/x").startswith("usage.json\n")
    emmy.stop()
