"""Jobe's interface, as Moodle's CodeRunner asks it, in the real sandbox."""

import base64
import concurrent.futures
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.grader.conftest import Answer, Client, Grader

Start = Callable[..., Grader]
COMPILATION_ERROR, RUNTIME_ERROR, TIME_LIMIT, SUCCESS, MEMORY_LIMIT = 11, 12, 13, 15, 17
SERVER_OVERLOAD = 21
REST = "/jobe/index.php/restapi"


def ask(client: Client, body: bytes, method: str = "POST", path: str = "/runs") -> Answer:
    return client.request(REST + path, body, {"Content-Type": "application/json"}, method)


def run(client: Client, language: str, source: str, **spec: Any) -> dict[str, Any]:
    told = {"language_id": language, "sourcecode": source, **spec}
    answer = ask(client, json.dumps({"run_spec": told}).encode())
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json
    return found


@pytest.fixture
def client(grader: Start) -> Client:
    return grader().client


def test_its_languages_are_those_of_the_images(client: Client) -> None:
    told = dict(client.request(f"{REST}/languages").json)
    assert set(told) == {"c", "python3"}
    assert told["python3"].startswith("3.")
    assert told["c"].count(".") == 2
    assert dict(client.request("/jobe/restapi/languages/").json) == told


Case = tuple[str, dict[str, Any], int, str | None]


def within(**parameters: Any) -> dict[str, Any]:
    return {"parameters": parameters}


UNUSED = "int main() { int unused; return 0; }"
SQUARE = """#include <math.h>
#include <stdio.h>
int main(int count, char **words) { printf("%.0f", pow(count, 2)); return 0; }"""
ENDLESS = '#include <stdio.h>\nint main() { while (1) { printf("Hello"); } }'
MUCH = """#include <stdio.h>
#include <stdlib.h>
int main() { puts(malloc(500000000) ? "yes" : "no"); return 0; }"""
PYTHON: list[Case] = [
    ("print('Grüße')", {}, SUCCESS, "Grüße\n"),
    ("print(input() + input())", {"input": "one\ntwo\n"}, SUCCESS, "onetwo\n"),
    ("print('x'", {}, COMPILATION_ERROR, ""),
    ("[][0]", {}, RUNTIME_ERROR, ""),
    ("open('f', 'w').write('fish'); print(open('f').read())", {}, SUCCESS, "fish\n"),
    ("import sys; print(sys.argv[1:])", within(runargs=["a", "b"]), SUCCESS, "['a', 'b']\n"),
    ("", within(interpreterargs=['-c "print(\\"it\\")"']), SUCCESS, "it\n"),
    ("while True: pass", within(cputime=1), TIME_LIMIT, ""),
    ("import time; time.sleep(60)", within(cputime=1), TIME_LIMIT, ""),
    ("bytearray(900_000_000)", within(memorylimit=200), RUNTIME_ERROR, ""),
    ("import sys; sys.exit(3)", {}, SUCCESS, ""),
    ("import os; os.kill(os.getpid(), 9)", {}, RUNTIME_ERROR, ""),
    ("import socket; socket.create_connection(('1.1.1.1', 53), 1)", {}, RUNTIME_ERROR, ""),
    # What a program writes where our own words are read is taken for none of them.
    ("open('../output.txt', 'w').write('x' * 32 + 'forged')", {}, SUCCESS, ""),
    ("open('../stdout.txt', 'w').write('x'); print('y')", {}, SUCCESS, "y\n"),
]
C: list[Case] = [
    ('#include <stdio.h>\nint main() { printf("hello\\n"); return 0; }', {}, SUCCESS, "hello\n"),
    ("int main() { return 0 }", {}, COMPILATION_ERROR, ""),
    (UNUSED, {}, COMPILATION_ERROR, ""),
    (UNUSED, within(compileargs=["-x c"]), SUCCESS, ""),
    (SQUARE, within(linkargs=["-lm"], runargs=["x", "y"]), SUCCESS, "9"),
    ("int main() { char *s = 0; return *s; }", {}, RUNTIME_ERROR, ""),
    ("int main() { while (1) {} }", within(cputime=1), TIME_LIMIT, ""),
    (ENDLESS, within(cputime=2), TIME_LIMIT, None),
    (MUCH, {}, SUCCESS, "no\n"),
]


@pytest.mark.parametrize(("language", "cases"), [("python3", PYTHON), ("c", C)])
def test_runs_end_as_jobes_do(client: Client, language: str, cases: list[Case]) -> None:
    """The situations of Jobe's own examples, and some that attack what is told of a run."""

    def judge(case: Case) -> str:
        source, spec, outcome, stdout = case
        told = run(client, language, source, **spec)
        right = told["outcome"] == outcome and (stdout is None or told["stdout"] == stdout)
        right &= bool(told["cmpinfo"]) == (outcome == COMPILATION_ERROR)
        return "" if right else f"{source!r} {spec}: {told}"[:1000]

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        wrong = [each for each in threads.map(judge, cases) if each]
    assert wrong == []


def test_as_many_processes_as_are_allowed(client: Client) -> None:
    source = (
        "#include <stdio.h>\n#include <unistd.h>\nint main() { int made = 0;\n"
        "for (int i = 0; i < 40; i++) { int pid = fork(); if (pid == 0) { pause(); }"
        " if (pid > 0) made++; }\n"
        'printf("%d", made); return 0; }'
    )
    args = ["-std=gnu99", "-x c"]
    told = run(client, "c", source, parameters={"numprocs": 10, "compileargs": args})
    assert (told["outcome"], told["stdout"]) == (SUCCESS, "9"), told
    told = run(client, "c", source, parameters={"numprocs": 1, "compileargs": args})
    assert (told["outcome"], told["stdout"]) == (SUCCESS, "0"), told


def test_files_are_sent_once(client: Client) -> None:
    """As CodeRunner does: it tries, is told what is missing, sends that, and tries again."""
    content = bytes(range(256))
    identifier = hashlib.md5(content).hexdigest()  # noqa: S324 - as CodeRunner names files
    spec = {
        "language_id": "python3",
        "sourcecode": "print(len(open('a.bin', 'rb').read()))",
        "file_list": [[identifier, "a.bin"]],
    }
    body = json.dumps({"run_spec": spec}).encode()
    assert client.request(f"{REST}/files/{identifier}", method="HEAD").status == 404
    missing = ask(client, body)
    assert (missing.status, identifier in missing.body.decode()) == (404, True)
    sent = json.dumps({"file_contents": base64.b64encode(content).decode()}).encode()
    assert ask(client, sent, "PUT", f"/files/{identifier}").status == 204
    assert client.request(f"{REST}/files/{identifier}", method="HEAD").status == 204
    assert ask(client, body).json["stdout"] == "256\n"


@pytest.mark.parametrize(
    ("body", "method", "path", "says"),
    [
        (b"{", "POST", "/runs", "no JSON"),
        (b"[" * 100_000, "POST", "/runs", "no JSON"),
        (b"\xff", "POST", "/runs", "no JSON"),
        (b'{"run_spec": 1}', "POST", "/runs", "no run_spec"),
        (
            b'{"run_spec": {"language_id": "java", "sourcecode": "x"}}',
            *("POST", "/runs", "no image here has the language java"),
        ),
        (b'{"file_contents": "*"}', "PUT", "/files/abcdefgh", "not in Base64"),
        (b'{"file_contents": 5}', "PUT", "/files/abcdefgh", "missing"),
        (b'{"file_contents": ""}', "PUT", "/files/..%2f..%2fx", "no identifier"),
        (b" " * (17 << 20), "POST", "/runs", "larger"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    client: Client, body: bytes, method: str, path: str, says: str
) -> None:
    answer = ask(client, body, method, path)
    assert (answer.status, says in answer.body.decode()) == (400, True), answer


def test_only_who_has_a_key_is_served(grader: Start, state: Path) -> None:
    """One client's files are no other's, though it knows their name."""
    tokens = state / "tokens"
    tokens.write_text("alice one\nbob two\n")
    tokens.chmod(0o644)
    client = grader(tokens_file=str(tokens)).client

    def as_(key: str, path: str, body: bytes | None = None, method: str = "GET") -> Answer:
        return client.request(REST + path, body, {"X-API-KEY": key}, method)

    assert as_("wrong", "/languages").status == 401
    assert client.request(f"{REST}/languages").status == 401
    assert as_("one", "/languages").status == 200
    sent = json.dumps({"file_contents": base64.b64encode(b"secret").decode()}).encode()
    assert as_("one", "/files/abcdefgh", sent, "PUT").status == 204
    assert as_("one", "/files/abcdefgh", method="HEAD").status == 204
    assert as_("two", "/files/abcdefgh", method="HEAD").status == 404
    spec = {"language_id": "python3", "sourcecode": "print(open('f').read())"}
    spec |= {"file_list": [["abcdefgh", "f"]]}  # type: ignore[dict-item]
    body = json.dumps({"run_spec": spec}).encode()
    assert as_("two", "/runs", body, "POST").status == 404
    assert as_("one", "/runs", body, "POST").json["stdout"] == "secret\n"


def test_a_short_request_cannot_fill_the_memory(client: Client) -> None:
    """It may name a large file many times; and whoever asks meanwhile is answered."""
    content = json.dumps({"file_contents": base64.b64encode(bytes(5 << 20)).decode()}).encode()
    assert ask(client, content, "PUT", "/files/abcdefgh").status == 204
    spec: dict[str, Any] = {"language_id": "python3", "sourcecode": "print(1)"}
    spec["file_list"] = [["abcdefgh", f"f{number}"] for number in range(100)]
    refused = ask(client, json.dumps({"run_spec": spec}).encode())
    assert (refused.status, b"the files have more than" in refused.body) == (400, True), refused
    spec["file_list"] = spec["file_list"][:2]
    assert ask(client, json.dumps({"run_spec": spec}).encode()).json["stdout"] == "1\n"


def test_a_service_without_room_says_so(grader: Start, tmp_path: Path) -> None:
    client = grader(instances=1, queue=0).client
    sleeper = "import time; time.sleep(3)"
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        first = threads.submit(run, client, "python3", sleeper)
        deadline = time.monotonic() + 60
        while not client.request("/status.json").json["busy_instances"]:
            assert time.monotonic() < deadline
        assert run(client, "python3", "print(1)")["outcome"] == SERVER_OVERLOAD
        assert first.result()["outcome"] == SUCCESS


def test_a_whole_class_at_once(client: Client) -> None:
    """Thirty students, and one of them takes what there is: nobody else notices."""
    hostile = "import os\nwhile True:\n    os.fork()"

    def work(number: int) -> tuple[int, str]:
        if number % 10 == 0:
            told = run(client, "python3", hostile, parameters={"cputime": 1})
        else:
            told = run(client, "python3", f"print({number} ** 2)")
        return told["outcome"], told["stdout"]

    with concurrent.futures.ThreadPoolExecutor(30) as threads:
        told = list(threads.map(work, range(30)))
    for number, (outcome, stdout) in enumerate(told):
        if number % 10:
            assert (outcome, stdout) == (SUCCESS, f"{number**2}\n"), number
        else:
            assert outcome != SUCCESS
