"""Sandbox images: the verbs, side by side, the same bytes twice, Java and Maven."""

import contextlib
import hashlib
import http.server
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from provision.cli import appliance
from provision.guest.sandbox import image
from tests.integration.grader.conftest import RECIPE, Grader, build_image, python, script, task


def call(*words: str) -> Result:
    return CliRunner().invoke(appliance, words)


def test_images_are_listed_and_verified(squashfs: Path, tmp_path: Path) -> None:
    # A directory of its own: the cache may hold other tests' images beside this one.
    for kept in (squashfs, squashfs.with_suffix(".json")):
        (tmp_path / kept.name).symlink_to(kept)
    directory = str(tmp_path)
    shown = call("sandbox", "image", "list", "-d", directory)
    assert shown.stdout.split() == [RECIPE.name, "trixie", "gcc,", "libc6-dev,", "make,", "python3"]
    (listed,) = json.loads(call("sandbox", "image", "list", "-d", directory, "--json").stdout)
    assert listed["sha256"] == hashlib.sha256(squashfs.read_bytes()).hexdigest()
    assert call("sandbox", "image", "verify", str(squashfs)).exit_code == 0


def test_a_changed_image_is_found_out(squashfs: Path, tmp_path: Path) -> None:
    copy = tmp_path / squashfs.name
    copy.write_bytes(squashfs.read_bytes()[:-1] + b"x")
    assert "no readable manifest" in str(call("sandbox", "image", "verify", str(copy)).exception)
    (tmp_path / f"{RECIPE.name}.json").write_bytes(squashfs.with_suffix(".json").read_bytes())
    assert "not what its manifest says" in str(
        call("sandbox", "image", "verify", str(copy)).exception
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["../evil"], "not an image name"),
        pytest.param(
            ["x", "-p", "no-such-package-at-all"], "no-such-package", marks=pytest.mark.slow
        ),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path: Path, words: list[str], says: str) -> None:
    done = call("sandbox", "image", "build", *words, "-d", str(tmp_path))
    assert says in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_doctor_tells_how_each_limit_is_kept() -> None:
    done = call("sandbox", "doctor", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["boxes"] == "ok"
    assert set(found) == {"bubblewrap", "boxes", "system calls", "memory", "uml"}
    if "amx_tile" in Path("/proc/cpuinfo").read_text():
        assert "AMX" in found["uml"] or found["uml"].startswith("ok")


def test_python_is_compiled_ahead(images: Path) -> None:
    library = next((images / RECIPE.name / "usr/lib").glob("python3.*"))
    sources = [p for p in library.glob("*.py") if not p.name.startswith("_")]
    compiled = {p.name.partition(".")[0] for p in (library / "__pycache__").iterdir()}
    assert {p.stem for p in sources} <= compiled


def test_an_image_tells_nothing_of_how_its_packages_came(images: Path) -> None:
    assert list((images / RECIPE.name / "etc").rglob("*mmdebstrap*")) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_same_packages_give_the_same_bytes(squashfs: Path, tmp_path: Path) -> None:
    again = build_image(RECIPE, tmp_path)
    assert (
        hashlib.sha256(again.read_bytes()).digest()
        == hashlib.sha256(squashfs.read_bytes()).digest()
    )


@pytest.fixture
def java(images: Path, java_squashfs: Path) -> Path:
    """The image for Java beside the other, and the directory of both."""
    root = images / "java"
    if not root.exists():
        image.extract(java_squashfs, root)
    return images


class Repository(http.server.BaseHTTPRequestHandler):
    """A Maven repository of one parent POM, reached as a proxy is asked."""

    pom = (
        "<project><modelVersion>4.0.0</modelVersion><groupId>school</groupId>"
        "<artifactId>parent</artifactId><version>1</version><packaging>pom</packaging></project>"
    )

    def do_GET(self) -> None:
        found = self.path.endswith("school/parent/1/parent-1.pom")
        body = self.pom.encode() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def repository() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_java_and_maven_side_by_side_with_python(
    grader: Callable[..., Grader], java: Path, repository: str
) -> None:
    limits = {"clock": 60.0, "cpu": 60.0, "memory": 1 << 30, "tasks": 200}
    service = grader(limits=limits, proxy=repository)
    assert service.client.request("/status.json").json["images"]["bubblewrap"] == [
        "java",
        RECIPE.name,
    ]
    source = "class Sum { public static void main(String[] a) { System.out.println(1 + 1); } }"
    done = service.client.result(
        task({"tmc-run": "#!/bin/sh\njavac Sum.java && java Sum\n", "Sum.java": source}),
        image="java",
    )
    assert (done["status"], done["stdout"]) == ("finished", "2\n"), done
    pom = (
        "<project><modelVersion>4.0.0</modelVersion><parent><groupId>school</groupId>"
        "<artifactId>parent</artifactId><version>1</version><relativePath/></parent>"
        "<artifactId>exercise</artifactId><packaging>pom</packaging><repositories><repository>"
        "<id>school</id><url>http://repository.example/maven</url></repository></repositories>"
        "</project>"
    )
    settings = (
        "<settings><mirrors><mirror><id>school</id><mirrorOf>*</mirrorOf>"
        "<url>http://repository.example/maven</url></mirror></mirrors></settings>"
    )
    maven = "mvn -q -B -s settings.xml -Dmaven.repo.local=m2 validate"
    run = f"#!/bin/sh\n{maven} && ls m2/school/parent/1\n"
    fetched = service.client.result(
        task({"tmc-run": run, "pom.xml": pom, "settings.xml": settings}), image="java"
    )
    assert "parent-1.pom" in fetched["stdout"], fetched
    assert service.client.result(python("print(1+1)"))["stdout"] == "2\n"
    assert service.client.result(script("command -v java; true"))["stdout"] == ""
