"""One home for what we know of a distribution."""

import ast
from dataclasses import astuple
from pathlib import Path

from provision import resources
from provision.config.distributions import DISTRIBUTIONS

HOME = Path("provision/config/distributions.py")


def test_a_distribution_is_one_entry():
    root, known = resources.PACKAGE.parent, DISTRIBUTIONS["ubuntu"]
    several = (words for words in astuple(known) if isinstance(words, tuple))
    single = (str(word) for word in astuple(known) if not isinstance(word, tuple) and word)
    facts = {
        "ubuntu",
        known.ostype("amd64"),
        *single,
        *(word for words in several for word in words),
    }
    facts -= {"main", "universe"}
    homes = set()
    for path in [*root.glob("provision/**/*.py"), *root.glob("vbox/**/*.py")]:
        tree = ast.walk(ast.parse(path.read_bytes()))
        if facts & {str(node.value) for node in tree if isinstance(node, ast.Constant)}:
            homes.add(path.relative_to(root))
    for path in (*resources.templates().rglob("*"), *resources.playbooks().rglob("*")):
        if path.suffix == ".pyc" or not path.is_file():
            continue
        if any(fact in path.read_text() for fact in facts):
            homes.add(path.relative_to(root))
    assert homes == {HOME}
