"""What the guest's own scripts, which are templates, ask of our modules is there."""

import ast
import re
from pathlib import Path

import pytest

from provision import resources

ASKED = re.compile(r"^from (provision[.\w]*) import ([\w, ]+)$", re.MULTILINE)
GUEST = Path(resources.templates()) / "guest"
SCRIPTS = [
    (path, module, name.strip())
    for path in sorted(GUEST.rglob("*.j2"))
    for module, names in ASKED.findall(path.read_text())
    for name in names.split(",")
]


def defined(module: Path) -> set[str]:
    """What a module has under its own names, read and not run: what it imports is the guest's."""
    names = set()
    for node in ast.parse(module.read_text()).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {each.id for each in targets if isinstance(each, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


@pytest.mark.parametrize(
    ("path", "module", "name"), SCRIPTS, ids=[f"{p.stem}-{name}" for p, _, name in SCRIPTS]
)
def test_what_a_script_imports_is_there(path: Path, module: str, name: str) -> None:
    place = Path(resources.PACKAGE).parent / module.replace(".", "/")
    if (place / f"{name}.py").exists():  # a module itself
        return
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    assert name in defined(file), f"{path.name} asks {module} for {name}"


def test_scripts_are_found() -> None:
    assert len(SCRIPTS) > 5


def test_students_programs_cannot_take_all_memory_nor_end_who_grades_the_others() -> None:
    """The request that grades a class has boxes for it, which have no cgroup of their own."""
    unit = (GUEST / "assignments/notebook-assignments@.service.j2").read_text()
    told = dict(line.split("=", 1) for line in unit.splitlines() if re.match(r"\w+=", line))
    assert 50 <= int(told["MemoryMax"].removesuffix("%")) <= 80
    assert (told["MemorySwapMax"], told["OOMPolicy"]) == ("0", "continue")
