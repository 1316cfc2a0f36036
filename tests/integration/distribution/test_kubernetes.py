"""The export for Kubernetes: what other tools read in the image, and KubeSpawner in the values."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from trees import tree

from provision.build import places
from provision.build.build import Built
from provision.config import Config, read
from provision.jeos.layers import merging
from provision.process import require

pytestmark = pytest.mark.slow

POD = Path(__file__).with_name("pod.py")
KUBESPAWNER = "7.1.0"
# Of the shared appliance, as far as no stage of its build depends on them.
PROFILES = (
    *("--set", "profiles={any: {title: Everything}, small: {title: S, limits: {memory: 600M}}}"),
    *("--set", "pool.groups={seniors: {members: [emmy], limits: {cpu: 200, memory: 1500M}}}"),
)


@pytest.fixture(scope="module")
def exported(
    built: Built, arguments: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """The shared appliance's image and values."""
    place = tmp_path_factory.mktemp("kubernetes")
    words = ["export", "zero-to-jupyterhub", str(place), "--image", "registry.test/sage", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "provision.cli", *words, *arguments],
        check=True,
        capture_output=True,
    )
    assert json.loads(done.stdout)["image"] == "registry.test/sage:1.0"
    yield place
    subprocess.run(["rm", "-rf", place / "bundle", place / "image"], check=True)


@pytest.fixture(scope="module")
def unpacked(exported: Path) -> Path:
    """The image as another tool unpacks it."""
    umoci = require("umoci", "umoci")
    subprocess.run(
        [umoci, "unpack", "--image", exported / "image:1.0", exported / "bundle"],
        check=True,
        capture_output=True,
    )
    return exported / "bundle" / "rootfs"


def test_registries_take_the_image(exported: Path, tmp_path: Path) -> None:
    skopeo = require("skopeo", "skopeo")
    image = f"oci:{exported / 'image'}:1.0"
    told = json.loads(
        subprocess.run([skopeo, "inspect", image], check=True, capture_output=True).stdout
    )
    assert (told["Os"], told["Architecture"]) == ("linux", "amd64")
    assert len(told["Layers"]) == 4  # base, packages, configure, seal
    # Converting reads every layer and compares every digest.
    subprocess.run(
        [skopeo, "--insecure-policy", "copy", image, f"dir:{tmp_path / 'copy'}"],
        check=True,
        capture_output=True,
    )


def test_the_image_is_the_builds_root(unpacked: Path, sealed: list[Path]) -> None:
    with merging(sealed) as root:
        ours = tree(root)
    theirs = tree(unpacked)
    assert ours.keys() == theirs.keys()
    different = {path: (ours[path], theirs[path]) for path in ours if ours[path] != theirs[path]}
    assert not different, dict(list(different.items())[:10])


def test_a_session_of_the_image_computes(exported: Path, unpacked: Path) -> None:
    """The server's own command, as the user that the values name, in the image alone."""
    values = YAML(typ="safe", pure=True).load((exported / "values.yaml").read_text())["singleuser"]
    env = [f"{name}={value}" for name, value in values["extraEnv"].items()]
    who = f"--userspec={values['uid']}:{values['fsGid']}"

    def run(*argv: str) -> str:
        # In a pod the home is the student's volume.
        words = ["chroot", who, str(unpacked), "env", "-i", *env, "HOME=/tmp", *argv]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    assert run(values["cmd"][0], "--version").strip()
    assert run("id", "-un").strip() == "nb1"
    assert "python3" in run("/opt/notebook/bin/jupyter", "kernelspec", "list")


@pytest.fixture(scope="module")
def kubespawner() -> Path:
    """A Python with the chart's spawner, kept for the next run."""
    home = places.cache() / "tests" / f"kubespawner-{KUBESPAWNER}"
    if not (home / "whole").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip = [home / "bin/pip", "install", "-q", f"jupyterhub-kubespawner=={KUBESPAWNER}"]
        subprocess.run(pip, check=True)
        (home / "whole").touch()
    return home / "bin/python"


@pytest.mark.parametrize(
    ("student", "profile", "limits"),
    [
        ("carl", "", {"memory": str(1 << 30), "cpu": "1.0"}),
        ("carl", "small", {"memory": str(600 << 20), "cpu": "1.0"}),
        ("emmy", "small", {"memory": str(1500 << 20), "cpu": "2.0"}),
    ],
)
def test_pods_have_the_students_limits(
    kubespawner: Path, tmp_path: Path, student: str, profile: str, limits: dict[str, str]
) -> None:
    from provision.export import zero_to_jupyterhub

    config: Config = read(assignments=PROFILES[1::2], environ={}).config
    values = zero_to_jupyterhub.values(
        config, image="registry.test/sage", account=("nb1", 1001, 1002), kernels=[]
    )
    words = [kubespawner, POD, json.dumps(values), tmp_path, student, profile]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pod = json.loads(done.stdout)
    assert pod["limits"] == limits
    assert pod["command"][0] == "/opt/notebook/bin/jupyterhub-singleuser"
    assert pod["security"] == {"runAsUser": 1001, "allowPrivilegeEscalation": False}
