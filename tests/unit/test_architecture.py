"""The map of the project is that of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SHARED = "*.py"


def rows() -> Iterator[tuple[str, str, str]]:
    """Each place of the table that holds code of the product, with what it says of it."""
    for line in (ROOT / "docs/architecture.md").read_text().splitlines():
        if found := re.match(r"\| `(?:provision/)?(\S+?)/?` \| (.*) \| (.+) \|$", line):
            yield found[1], found[2], found[3]


def place(module: str) -> str:
    package, _, below = module.partition(".")
    name = below.partition(".")[0] if package == "provision" else package
    return name if not name or (ROOT / "provision" / name).is_dir() or name == "vbox" else SHARED


@pytest.fixture(scope="module")
def arrows() -> dict[str, set[str]]:
    graph = grimp.build_graph("provision", "vbox", cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        imported = graph.find_modules_directly_imported_by(module)
        found.setdefault(place(module), set()).update(map(place, imported))
    return {name: others - {name, SHARED} for name, others in found.items() if name}


def test_the_table_has_the_arrows_of_the_code(arrows: dict[str, set[str]]) -> None:
    table, left = {}, [name for name, _, _ in rows()]
    for name, _, imports in rows():
        left.remove(name)
        told = set(imports.split(", ")) - {"-"}
        table[name] = set(left) & arrows[name] if told == {"everything below"} else told
        assert table[name] <= set(left), f"{name} imports what stands above it"
    assert table == arrows


def test_the_table_names_what_all_share() -> None:
    (told,) = (told for name, told, _ in rows() if name == SHARED)
    modules = {path.stem for path in (ROOT / "provision").glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", told)) - {"provision"} == modules


@pytest.mark.parametrize("sender", ["fleet", "verify"])
def test_what_is_sent_to_a_guest_imports_what_goes_with_it_or_is_there(sender: str) -> None:
    ours = re.compile(r"^\s*(?:from|import) (provision[\w.]*)", re.MULTILINE)
    for path in (ROOT / "provision" / sender / "inside").glob("*.py"):
        for name in ours.findall(path.read_text()):
            shared = (ROOT / "provision" / f"{name.partition('.')[2]}.py").exists()
            assert shared or f"{name}.".startswith("provision.guest."), f"{path}: {name}"
