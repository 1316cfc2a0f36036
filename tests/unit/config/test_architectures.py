"""One home for what we know of an architecture, and who is refused by it."""

import ast
from pathlib import Path

import pytest

from provision import resources
from provision.config import architectures
from provision.config.architectures import ARCHITECTURES, of_machine, require_host
from provision.errors import HostNotReadyError

HOME = Path("provision/config/architectures.py")


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("x86_64", "amd64"),
        ("AMD64", "amd64"),
        ("aarch64", "arm64"),
        ("ARM64", "arm64"),
        ("s390x", None),
    ],
)
def test_each_system_has_its_own_word_for_an_architecture(machine, name):
    assert of_machine(machine) == name


def test_an_architecture_is_one_entry():
    """What is arm64's alone stands nowhere else in what the host runs."""
    known = ARCHITECTURES["arm64"]
    facts = {known.triplet, known.loader, known.wheels, known.emulator.program, *known.packages}
    root = resources.PACKAGE.parent
    homes = {
        path.relative_to(root)
        for path in (*root.glob("provision/**/*.py"), *root.glob("vbox/**/*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Constant) and node.value in facts
    }
    assert homes == {HOME}


def test_what_no_vm_here_could_start_is_refused(monkeypatch):
    monkeypatch.setattr(architectures, "of_this_host", lambda: "amd64")
    require_host("amd64", "sage.ova")
    with pytest.raises(HostNotReadyError, match=r"sage\.ova is for computers with ARM64") as caught:
        require_host("arm64", "sage.ova")
    assert "arch: amd64" in str(caught.value.hint)
