"""An action is a verb, a value a noun, a context manager an -ing; a class's name is its own.

What is called so from before stands in ``participles.txt``, which gets shorter only; of the pool's
``locked``, ``checked`` and ``told`` an operator's program asks appliances of before, too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT = Path(__file__).with_name("participles.txt")
IRREGULAR = frozenset(
    [
        "begun",
        "bound",
        "broken",
        "brought",
        "built",
        "caught",
        "chosen",
        "done",
        "drawn",
        "found",
        "given",
        "gone",
        "heard",
        "held",
        "hidden",
        "kept",
        "known",
        "learnt",
        "led",
        "left",
        "lent",
        "lost",
        "made",
        "meant",
        "paid",
        "said",
        "seen",
        "sent",
        "shown",
        "spent",
        "spoken",
        "stood",
        "struck",
        "swept",
        "taken",
        "taught",
        "thrown",
        "told",
        "torn",
        "understood",
        "unknown",
        "woken",
        "worn",
        "written",
    ]
)
VERBS = frozenset(("embed", "exceed", "feed", "need", "proceed", "seed", "shed", "speed"))
ACTIONS = frozenset(("check", "find", "is", "open", "read", "refuse", "rename"))  # of what is so
FOREIGN = frozenset(("v2",))  # Ansible's names
VALUES = ("property", "cached_property", "check")  # what an attribute is like; what `verify` proves


def is_participle(name: str) -> bool:
    words = name.strip("_").split("_")
    word = words[-1]
    if words[0] in ACTIONS | FOREIGN:
        return False
    return word in IRREGULAR or (len(word) > 3 and word.endswith("ed") and word not in VERBS)


def participles() -> Iterator[str]:
    for place in ("provision", "vbox", "playbooks"):
        for path in sorted((ROOT / place).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                made = [
                    ast.unparse(each).partition("(")[0].rpartition(".")[2]
                    for each in node.decorator_list
                ]
                if is_participle(node.name) and not set(VALUES) & set(made):
                    yield f"{path.relative_to(ROOT)} {node.name}"


def test_no_function_is_called_by_a_participle() -> None:
    known, now = set(LEFT.read_text().splitlines()), set(participles())
    assert not now - known, "call an action by a verb, a value by a noun, a context by an -ing"
    assert not known - now, f"gone, so take them out of {LEFT.name}"


def test_no_two_classes_have_one_name() -> None:
    names: dict[str, list[str]] = {}
    for path in sorted((ROOT / "provision").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ClassDef):
                names.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: paths for name, paths in names.items() if len(paths) > 1} == {}
