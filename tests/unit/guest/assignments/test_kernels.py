"""By which kernels notebooks are graded; no kernel is started."""

import json
from pathlib import Path

import pytest

from provision.config import languages
from provision.guest.assignments import boxes, forkserver
from provision.guest.assignments.kernels import LANGUAGES, Kernel, Programs, find

SAGE = ["/opt/sage-10.8/bin/python", "-m", "sage.repl.ipython_kernel", "-f", "{connection_file}"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    program = ["/usr/bin/any", "{connection_file}"]
    for name, (argv, language) in {
        "sagemath": (SAGE, "sage"),
        "ir": (program, "R"),
        "octave": (program, "octave"),
        "julia-1.12": (program, "julia"),
    }.items():
        (tmp_path / name).mkdir()
        told = {"argv": argv, "language": language, "env": {"ECL_CONFIG": "/usr/bin/true"}}
        (tmp_path / name / "kernel.json").write_text(json.dumps(told))
    (tmp_path / "sagemath-9").mkdir()
    (tmp_path / "sagemath-9/kernel.json").symlink_to("/opt/sage-9/kernel.json")
    return tmp_path


def test_sages_kernel_is_its_python_and_its_directory(place: Path) -> None:
    found = find("sagemath", place)
    assert found.python == (SAGE[0],)
    assert found.places == (Path("/opt/sage-10.8"),)
    assert found.sage
    assert found.environment == {"ECL_CONFIG": "/usr/bin/true"}


def test_the_distributions_sage_and_a_tarballs_are_found(place: Path) -> None:
    for argv, wanted in (
        (["/usr/bin/python3", *SAGE[1:]], Kernel(("/usr/bin/python3",), (), sage=True)),
        (
            ["/opt/sage-9.5/sage", "--python", *SAGE[1:]],
            Kernel(("/opt/sage-9.5/sage", "--python"), (Path("/opt/sage-9.5"),), sage=True),
        ),
    ):
        (place / "sagemath/kernel.json").write_text(json.dumps({"argv": argv}))
        found = find("sagemath", place)
        assert (found.python, found.places) == (wanted.python, wanted.places)


@pytest.mark.parametrize(("name", "language"), [("ir", "R"), ("octave", "octave")])
def test_a_language_of_its_own_is_its_programs_and_no_student_has_its_python(
    place: Path, name: str, language: str
) -> None:
    found = find(name, place)
    assert found.language == LANGUAGES[language]
    assert not found.sage
    assert "opt" not in "".join(map(str, found.places))
    assert set(LANGUAGES) <= {known.code or name for name, known in languages.LANGUAGES.items()}


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_the_programs_of_a_language_are_there(language: Programs) -> None:
    here = Path(boxes.__file__).parent
    told = {"program": "{program}", "seconds": 30, "here": here}
    named = [each.format_map(told) for each in language.argv if "{program}" in each]
    files = [Path(each.partition("=")[2] or each) for each in named]
    assert len(files) == 1
    for program in forkserver.PROGRAMS:
        assert Path(str(files[0]).format(program=program)).is_file()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "cobol",
            "'cobol', which is not here: notebooks of python3, ir, octave, sagemath can be graded",
        ),
        ("sagemath-9", "'sagemath-9', which is not here"),
        ("../sagemath", "'../sagemath', which is not here"),
        (
            "julia-1.12",
            "'julia-1.12', in whose language no test can be run apart from what it tests",
        ),
    ],
)
def test_what_cannot_grade_is_said(place: Path, name: str, words: str) -> None:
    with pytest.raises(LookupError) as told:
        find(name, place)
    assert words in told.value.args[0]


def test_octave_that_is_not_installed_is_said(place: Path) -> None:
    (place / "octave/kernel.json").unlink()
    with pytest.raises(LookupError) as told:
        find("octave", place)
    words = "has the kernel 'octave', which is not here: notebooks of python3, ir, sagemath can be"
    assert words in told.value.args[0]
