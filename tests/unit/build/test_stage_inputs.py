"""Each of our files decides the stages that it has a part in, and no other."""

import functools
import shutil
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path

import grimp
import pytest
from jinja2 import Environment, nodes

from provision import resources
from provision.build import closure, roles
from provision.build.inputs import stage_inputs
from provision.build.plan import STAGES
from provision.build.request import Request
from provision.config import read
from provision.config.distributions import DISTRIBUTIONS
from provision.jeos.archive import Release, SourceLine

SOURCES = (
    SourceLine("http://mirror.test/debian", "trixie", ("main",), DISTRIBUTIONS["debian"].keyring),
)
ALL = ("grader.enabled=true", "jail.enabled=true", "courses={algebra: {members: [emmy]}}")


def request() -> Request:
    config = read(assignments=ALL, environ={}).config
    return Request(config, SOURCES, Release("abc", 1_700_000_000), (), None)


def deciding(stage: str) -> set[Path]:
    """What a stage's inputs are computed from."""
    found = set(closure.files_of(f"provision.build.stages.{stage}"))
    if stage in ("packages", "configure"):
        found |= set(roles.files_of(stage, request().variables()))
    return found


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the project, which the build takes for its own source."""
    root = resources.PACKAGE.parent
    for name in ("provision", "vbox", "playbooks", "templates"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, tmp_path / name, ignore=ignored, symlinks=True)
    monkeypatch.setattr(resources, "PACKAGE", tmp_path / "provision")
    ours = {name: tmp_path / name for name in ("provision", "vbox")}
    monkeypatch.setattr(closure, "_OURS", ours)
    caches = (closure._path, closure._read, roles._plays)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def test_a_change_of_a_file_changes_the_stages_that_it_decides_and_no_other(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = request()
    decided = {stage: deciding(stage) for stage in STAGES}
    assert all(path.is_relative_to(tree) for paths in decided.values() for path in paths)
    # What is added below changes no import: which files count is found once.
    variables = wanted.variables()
    monkeypatch.setattr(Request, "variables", lambda _: variables)
    monkeypatch.setattr(closure, "files_of", functools.cache(closure.files_of))
    known = {name: roles.files_of(name, variables) for name in ("packages", "configure")}
    monkeypatch.setattr(roles, "files_of", lambda name, _: known[name])
    before = {one.name: one.inputs for one in stage_inputs(wanted)}
    for path in sorted(set().union(*decided.values())):
        text = path.read_bytes()
        path.write_bytes(text + b"\n# changed\n")
        after = {one.name: one.inputs for one in stage_inputs(wanted)}
        path.write_bytes(text)
        changed = {stage for stage in STAGES if before[stage] != after[stage]}
        assert changed == {stage for stage in STAGES if path in decided[stage]}, path


@pytest.mark.parametrize("stage", [*STAGES, "image"])
def test_what_another_reader_of_imports_finds_decides(stage: str) -> None:
    graph = grimp.build_graph("provision", "vbox", cache_dir=None)
    for module in sorted(graph.modules):  # they say nothing of a result, nor does what they import
        if module in closure.CARRIERS or module.startswith("provision.config."):
            graph.remove_module(module)
    name = f"provision.build.stages.{stage}"
    wanted = {name, *graph.find_upstream_modules(name)}
    found = closure.files_of(name)
    paths = {closure._path(module) for module in wanted}
    assert {path for path in found if path.suffix == ".py"} == paths


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        ("provision/build/description.py", {"export"}),
        ("provision/build/playbook.py", {"packages", "configure"}),
        ("provision/build/stages/vm.py", {"vm"}),
        ("provision/machine/nspawn.py", {"packages", "configure"}),
        ("provision/machine/nspawn.sh", {"packages", "configure"}),
        ("provision/machine/layers.sh", {"packages", "configure"}),
        ("provision/machine/chroot.sh", {"packages", "configure"}),
        ("provision/jeos/native.sh", {"base"}),
        ("provision/ova/earlier.py", {"export"}),
        ("provision/jeos/initramfs.sh", {"base"}),
        ("provision/jeos/seal.py", {"seal"}),
        ("provision/guest/sandbox/image.py", {"configure"}),
        ("provision/guest/pool/account.py", {"configure"}),
        ("provision/guest/pyproject.toml", {"configure"}),
        ("provision/guest/hub/templates/login.html", {"configure"}),
        ("provision/build/guest_wheel.py", {"configure"}),
        ("playbooks/action_plugins/guest_wheel.py", {"configure"}),
        ("playbooks/library/files.py", {"configure"}),
        ("playbooks/roles/sage/files/passagemath-10.8.lock", {"packages"}),
        ("playbooks/roles/notebook/files/requirements.lock", {"packages", "configure"}),
        ("templates/guest/notebook/kernel.json.j2", {"packages"}),
        ("templates/guest/notebook/firewall.nft.j2", {"configure"}),
        ("templates/guest/packages/dpkg.cfg", {"base", "packages"}),
        ("templates/host/appliance.ovf.j2", {"export"}),
        ("provision/config/model.py", set()),
        ("provision/cli/build.py", set()),
    ],
)
def test_who_decides_what(path: str, stages: set[str]) -> None:
    root = resources.PACKAGE.parent
    assert {stage for stage in STAGES if root / path in deciding(stage)} == stages


def test_byte_code_that_comes_and_goes_decides_nothing(tree: Path) -> None:
    decided = {stage: deciding(stage) for stage in STAGES}
    for source in [*tree.rglob("*.py")]:
        compiled = Path(cache_from_source(source))
        compiled.parent.mkdir(exist_ok=True)
        compiled.write_bytes(b"byte code")
    closure._read.cache_clear()
    assert {stage: deciding(stage) for stage in STAGES} == decided


def test_every_template_of_the_guest_is_read_by_a_playbook() -> None:
    everything = {path for path in (resources.templates() / "guest").rglob("*") if path.is_file()}
    assert everything == {
        path for path in deciding("packages") | deciding("configure") if path in everything
    }


def test_a_role_that_is_off_decides_nothing() -> None:
    off = roles.files_of("configure", {"grader_enabled": False})
    assert not [path for path in off if "roles/grader/" in path.as_posix()]


@pytest.mark.parametrize("stage", ["packages", "configure"])
def test_a_template_has_the_variables_that_it_names(stage: str) -> None:
    """One of another stage's roles is not there when it is rendered, whatever it falls back to."""
    wanted = request()
    have = set(wanted.variables_of(stage))
    for path in roles.files_of(stage, wanted.variables()):
        if path.suffix == ".j2":
            names = Environment(autoescape=True).parse(path.read_text("utf-8")).find_all(nodes.Name)
            missing = {each.name for each in names} & set(wanted.variables()) - have
            assert not missing, f"{path.name} names {', '.join(missing)}"
