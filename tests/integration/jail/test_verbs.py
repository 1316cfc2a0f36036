"""`appliance jail`, as a sysadmin calls it."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from provision.cli import appliance
from provision.guest.jail import api, rootfs


def verb(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the report goes to the real standard error."""
    argv = [sys.executable, "-m", "provision.cli", "jail", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_run_takes_safeexecs_options(jail: Path) -> None:
    words = ["--cpu", "5", "--chroot_dir", str(jail), "--env_vars", "PY", "--exec_dir", "/"]
    done = verb("run", *words, "--exec", "/bin/python3", "-u", "-S", "-c", "print(1+1)")
    assert (done.returncode, done.stdout) == (0, "2\n"), done
    assert re.fullmatch(
        r"OK\nelapsed time: \d+ seconds\nmemory usage: \d+ kbytes\ncpu usage: \d\.\d{3} seconds\n",
        done.stderr,
    )
    assert "--nfile" in verb("run").stderr


def test_a_jail_is_not_built_over_something(tmp_path: Path) -> None:
    done = CliRunner().invoke(appliance, ["jail", "build", str(tmp_path)])
    assert "exists" in str(done.exception)


def test_maintenance_reports_what_it_changed(tmp_path: Path) -> None:
    assert os.getuid() == 0, "run as root: the test changes owners"
    place = tmp_path / "jail"
    (place / "lib").mkdir(parents=True)
    (place / "lib" / "program").write_text("x")
    (place / rootfs.MARK).touch()
    (place / "lib" / "program").chmod(0o777)
    words = ["jail", "maintenance", str(place), "--owner", "daemon", "--web", "www-data"]
    done = CliRunner().invoke(appliance, [*words, "--json"])
    assert f"mode 0755 {place}/lib/program" in json.loads(done.stdout)
    assert (place / "lib").owner() == "daemon"
    assert CliRunner().invoke(appliance, words).stdout == ""
    (place / rootfs.MARK).unlink()
    assert "no jail" in str(CliRunner().invoke(appliance, words).exception)


USES = {
    "six": "print(six.PY3)",
    "numpy": "print(numpy.linalg.norm(numpy.arange(3) @ numpy.eye(3)) > 2)",
    "lxml": "import lxml.etree as e; print(e.fromstring('<a><b/></a>')[0].tag == 'b')",
    "scipy": "import scipy.optimize as o; print(o.brentq(lambda x: x * x - 2, 0, 2) > 1.414)",
    "pandas": "print(pandas.DataFrame({'a': [1, 2]}).a.sum() == 3)",
    "contourpy": "print(len(contourpy.contour_generator(z=[[0, 1], [2, 3]]).lines(1.5)) == 1)",
    "shapely": "import shapely.geometry as g; print(g.Point(0, 0).buffer(1).area > 3)",
}


@pytest.mark.parametrize(
    "names",
    [["numpy"], pytest.param(list(USES), marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_further_packages_come_from_pypi_with_what_they_link_to(names: list[str]) -> None:
    """numpy is the example of docs/jail.md; the rest are of C++, C, Fortran and none of these."""
    place = Path("/var/tmp") / f"appliance-test-jail-pip-{os.getpid()}"
    words = [word for name in names for word in ("--pip", name)]
    try:
        done = CliRunner().invoke(appliance, ["jail", "build", str(place), *words])
        assert done.exit_code == 0, done.exception
        for name in names:
            report = api.run_python(
                f"import {name}\n{USES[name]}", place, mem=1_000_000, cpu=60, clock=300, nproc=20
            )
            assert (report.verdict, report.stdout) == ("OK", b"True\n"), (name, report)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def wheel(place: Path, library: str) -> Path:
    """A wheel with a module of C that links to a library which it does not bring along."""
    build = place / "build"
    build.mkdir(parents=True)
    (build / "none.c").write_text("int nothing(void) { return 0; }\n")
    (build / "odd.c").write_text("int nothing(void); int odd(void) { return nothing(); }\n")
    cc = ["gcc", "-shared", "-fPIC"]
    name = f"-Wl,-soname,{library}"
    subprocess.run([*cc, name, "-o", build / "libnone.so", build / "none.c"], check=True)
    odd = build / "odd.so"
    subprocess.run([*cc, "-o", odd, build / "odd.c", f"-L{build}", "-lnone"], check=True)
    info = "odd-1.0.dist-info"
    made = place / "odd-1.0-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.write(odd, "odd/odd.so")
        archive.writestr("odd/__init__.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return made


def test_a_library_that_nobody_has_ends_the_build_and_is_named(tmp_path: Path) -> None:
    place = tmp_path / "jail"
    pip = str(wheel(tmp_path, "libnonesuch.so.7"))
    done = CliRunner().invoke(appliance, ["jail", "build", str(place), "--pip", pip])
    assert done.exit_code == 1
    said = str(done.exception)
    assert said.startswith("the jail lacks libnonesuch.so.7")
    assert "/static/odd/odd.so" in said
    assert not place.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "odd-1.0-py3-none-any.whl"]
