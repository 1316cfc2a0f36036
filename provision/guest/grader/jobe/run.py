"""A run as Moodle's CodeRunner asks for it, made into a task, and what is told of it.

What a run may say, and what its outcomes mean, is Jobe's own interface (github.com/trampgeek/jobe,
restapi). Words of a command are a shell's, as there: the box keeps them in.
"""

import io
import math
import re
import secrets
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.guest.grader.engine import FINISHED, TIMEOUT, Result
from provision.guest.grader.jobe.languages import LANGUAGES
from provision.guest.sandbox.limits import Limits, Verdict

COMPILATION_ERROR, RUNTIME_ERROR, TIME_LIMIT, SUCCESS, MEMORY_LIMIT = 11, 12, 13, 15, 17
INTERNAL_ERROR, SERVER_OVERLOAD = 20, 21
FILE_ID = re.compile(r"[A-Za-z0-9]{8,64}")

_NAME = re.compile(r"(?![.-])[\w.+-]{1,100}")
_MEGABYTE = 1_000_000
_KILOBYTES = 1000  # of a megabyte, as Jobe counts
_COMPILING = 5.0  # seconds of processor time, beside the program's own
_COMPILING_TASKS = 16  # processes: gcc starts four, fpc three
_COMPILING_MEMORY = 500 * _MEGABYTE
_LAST_STATUS = 128  # after it, a signal's number
_SIGXCPU = 128 + 24
_CLASS = re.compile(r"\bpublic\s+class\s+(\w+)")
_MAIN = re.compile(r"\b(?:public\s+static|static\s+public)\s+void\s+main\s*\(")
_LARGEST = 1e6  # of any number: seconds, megabytes, processes
_FILES = 100  # of a run


class BadRunError(ValueError):
    """A run that cannot be begun; the text says why."""


@dataclass(frozen=True)
class Run:
    """A run as it was asked for.

    Args:
        language: a key of `LANGUAGES`.
        source: the program's text, and its file's name.
        stdin: what it can read.
        files: identifiers of files that were sent before, by the names that they get.
        words: lists of words for the commands: ``compileargs``, ``interpreterargs`` …
        numbers: what the run may use: ``cputime`` (seconds), ``memorylimit``, ``disklimit``,
            ``streamsize`` (megabytes), ``numprocs``.
        main: the class of Java that is run; empty: the file's name says it.
        nonce: begins what a compiler said, so that no program's output is taken for it.
    """

    language: str
    source: str
    name: str
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    main: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))


_WORDS = ("compileargs", "linkargs", "interpreterargs", "runargs")
_NUMBERS = {"cputime": 5.0, "disklimit": 20.0, "streamsize": 2.0}  # where a run names none


def parse(told: object, most: Limits) -> Run:
    """Read the body of a request for a run.

    Args:
        told: the decoded JSON.
        most: what any task may use.

    Raises:
        BadRunError: it is none, or wants what cannot be given.
    """
    spec = told.get("run_spec") if isinstance(told, dict) else None
    if not isinstance(spec, dict):
        raise BadRunError("no run_spec in the request")
    language = _text(spec, "language_id").lower()
    if language not in LANGUAGES:
        raise BadRunError(f"language {language!r} is not known; there are: {', '.join(LANGUAGES)}")
    source = _text(spec, "sourcecode")
    parameters = spec.get("parameters") or {}  # an empty array where PHP had nothing
    if not isinstance(parameters, dict):
        raise BadRunError("parameters is no object")
    named = {name: value for name, value in parameters.items() if value is not None}
    wanted = (*_NUMBERS, "memorylimit", "numprocs")
    numbers = {name: _number(name, named[name]) for name in wanted if name in named}
    if (cpu := numbers.get("cputime", 0)) > most.cpu:
        raise BadRunError(f"cputime of {cpu:g} s is more than the {most.cpu:g} s allowed here")
    numbers["cputime"] = cpu or min(_NUMBERS["cputime"], most.cpu)
    if "numprocs" in numbers:
        numbers["numprocs"] = min(numbers["numprocs"], most.tasks)
    main = _check("main_class", named.get("main_class", ""))
    if main and not re.fullmatch(r"[\w.$]{1,200}", main):
        raise BadRunError(f"main_class {main!r} is no name of a class"[:200])
    return Run(
        language=language,
        source=source,
        name=_source_name(spec, language, source),
        stdin=_text(spec, "input", ""),
        files=_files(spec.get("file_list") or []),
        words={name: _words(name, named[name]) for name in _WORDS if name in named},
        numbers=numbers,
        main=main,
    )


def _text(spec: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = spec.get(name)
    if value is None or value is False:
        value = default
    if value is None:
        raise BadRunError(f"run_spec is missing the required attribute {name!r}")
    return _check(name, value)


def _check(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadRunError(f"{name} is no text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadRunError(
            f"{name} has half a character, U+{ord(value[error.start]):04X}, at {error.start}"
        ) from None
    return value


def _number(name: str, value: object) -> float:
    """A number, or a text of one, as PHP's arrays have it."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise BadRunError(f"{name} is no number from 0 on: {str(value)[:100]!r}")
    return min(number, _LARGEST)


def _words(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise BadRunError(f"{name} is no array")
    words = tuple(_check(name, word) for word in value)
    if any(character in word for word in words for character in "\0\n"):
        raise BadRunError(f"{name} has a line feed or a NUL")
    return words


def _source_name(spec: Mapping[str, Any], language: str, source: str) -> str:
    name = _text(spec, "sourcefilename", "")
    if not name or (language == "java" and name == LANGUAGES["java"].source):
        # What CodeRunner says of every program in Java, whose file is named by its class.
        main = _main_class(source) if language == "java" else ""
        return f"{main}.java" if main else LANGUAGES[language].source
    if not _NAME.fullmatch(name):
        raise BadRunError(f"sourcefilename {name!r} is not allowed: letters, digits, . _ - +")
    return name


def _main_class(source: str) -> str:
    """The class of Java in which ``main`` is, as far as two looks can tell; empty: none."""
    if (main := _MAIN.search(source)) is None:
        return ""
    return next((found[1] for found in reversed([*_CLASS.finditer(source, 0, main.start())])), "")


def _files(told: object) -> dict[str, str]:
    """Identifiers of files by the names that they get; of two of a name, the last."""
    files = {}
    if isinstance(told, list) and len(told) > _FILES:
        raise BadRunError(f"{len(told)} files; a run has at most {_FILES}")
    for entry in told if isinstance(told, list) else [told]:
        match entry:
            case [str(identifier), str(name), *_] if FILE_ID.fullmatch(
                identifier
            ) and _NAME.fullmatch(name):
                files[name] = identifier
            case _:
                raise BadRunError(f"no file specifier: {entry!r}"[:200])
    return files


def limit(run: Run, most: Limits) -> Limits:
    """What a run's box may use: what it asks for, as far as any task may."""
    language = LANGUAGES[run.language]
    cpu = run.numbers["cputime"]
    extra = _COMPILING if language.compiling else 0.0
    disk = int(run.numbers.get("disklimit", _NUMBERS["disklimit"]) * _MEGABYTE)
    stream = int(run.numbers.get("streamsize", _NUMBERS["streamsize"]) * _MEGABYTE)
    memory = int(run.numbers.get("memorylimit", language.megabytes) * _MEGABYTE)
    tasks = max(int(run.numbers.get("numprocs", 0)), language.tasks, _COMPILING_TASKS)
    return most._replace(
        clock=min(most.clock, 2 * cpu + extra),
        cpu=min(most.cpu, cpu + extra),
        memory=min(most.memory, max(memory, _COMPILING_MEMORY)) if memory else most.memory,
        file_size=min(most.file_size, disk or most.file_size),
        output=min(most.output, stream or most.output),
        tasks=min(most.tasks, tasks),
    )


def pack(run: Run, files: Mapping[str, bytes]) -> bytes:
    """The task's tar: the program in a directory of its own, and what compiles and runs it.

    Args:
        run: see `Run`.
        files: the content of each of its files, by its name.
    """
    inside = {f"run/{name}": data for name, data in files.items()}
    return _tar(
        {"stdin": run.stdin.encode(), f"run/{run.name}": run.source.encode(), **inside}, script(run)
    )


def script(run: Run) -> str:
    """The shell program that compiles a run's source and becomes its program."""
    language = LANGUAGES[run.language]
    words = {name: " ".join(run.words.get(name, ())) for name in _WORDS}
    if "compileargs" not in run.words:
        words["compileargs"] = " ".join(language.compileargs)
    if "interpreterargs" not in run.words:
        words["interpreterargs"] = " ".join(language.interpreterargs)
    lines = ["#!/bin/sh", "cd run || exit 1"]
    if language.compiling:
        told = language.compiling.format(
            args=words["compileargs"], source=run.name, linkargs=words["linkargs"]
        )
        lines += [
            f"{told} </dev/null >../told 2>../wrong",
            "if [ $? -ne 0 ]" + (" || [ -s ../wrong ]" if language.silent else "") + "; then",
            f"    {{ printf %s {run.nonce}; cat ../wrong ../told; }} >../output.txt",
            "    exit 1",
            "fi",
        ]
    lines.append(f"ulimit -S -t {max(math.ceil(run.numbers['cputime']), 1)}")
    megabytes = run.numbers.get("memorylimit", language.megabytes)
    if megabytes and language.megabytes:
        lines.append(f"ulimit -v {math.ceil(megabytes * _KILOBYTES)}")
    if "numprocs" in run.numbers:
        tasks = max(int(run.numbers["numprocs"]), 1 if language.megabytes else language.tasks)
        # The box's first process is counted, too; dash has another letter for it than bash.
        lines.append(f"ulimit -p {tasks + 1} 2>/dev/null || ulimit -u {tasks + 1} 2>/dev/null")
    main = run.main or run.name.partition(".")[0]
    running = language.running.format(args=words["interpreterargs"], source=run.name, main=main)
    lines.append(f"exec {running} {words['runargs']} <../stdin")
    return "\n".join(lines) + "\n"


def answer(run: Run, identifier: str, result: Result) -> dict[str, Any]:
    """What Jobe's client is told of a task.

    As Jobe has it, whatever is written to stderr is an error of the program, and an exit status
    alone is none.
    """
    told: dict[str, Any] = {"run_id": identifier, "cmpinfo": "", "stdout": "", "stderr": ""}
    if result.output.startswith(run.nonce):
        cmpinfo = result.output.removeprefix(run.nonce) or "the compiler failed"
        return told | {"outcome": COMPILATION_ERROR, "cmpinfo": cmpinfo}
    outcome, stderr = _judge(result)
    return told | {"outcome": outcome, "stdout": result.stdout, "stderr": stderr}


def _judge(result: Result) -> tuple[int, str]:
    """The outcome of a program that was compiled, and what is told beside its stdout."""
    code, errors = result.exit_code, result.stderr
    if result.status == TIMEOUT or code == _SIGXCPU:
        return TIME_LIMIT, ""  # of a program that ran out of time Jobe tells no stderr
    if result.reason == Verdict.OUTPUT.value:
        return TIME_LIMIT, errors
    if result.reason == Verdict.MEMORY.value:
        return MEMORY_LIMIT, errors
    if code is None:
        return INTERNAL_ERROR, result.reason
    full = code == 0 and result.status != FINISHED  # no room for what it wrote
    if errors or code > _LAST_STATUS or full:
        return RUNTIME_ERROR, errors or result.reason
    return SUCCESS, ""


def read_versions(names: Sequence[str], printed: str) -> dict[str, str]:
    """The versions that a task of `pack_versions` printed; ``unknown`` where there is no number."""
    found = {}
    for name in names:
        match = re.search(rf"^{name} .*?(\d+\.[\d.]*\d)", printed, re.MULTILINE)
        found[name] = match[1] if match else "unknown"
    return found


def pack_versions(names: Sequence[str]) -> bytes:
    """A task's tar that prints what `read_versions` reads."""
    told = (f"printf '{name} '; {LANGUAGES[name].version} 2>&1 | head -n 1; echo" for name in names)
    return _tar({}, "#!/bin/sh\n" + "\n".join(told) + "\n")


def _tar(files: Mapping[str, bytes], program: str) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in {"tmc-run": program.encode(), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755 if name == "tmc-run" else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return sink.getvalue()
