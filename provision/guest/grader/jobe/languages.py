"""The languages that Jobe's clients know: what compiles and runs a program of each.

Names and default arguments are Jobe's own (github.com/trampgeek/jobe); a further one is an entry.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class JobeLanguage:
    """A language of Jobe's.

    Args:
        program: the path in an image that tells whether it is there.
        version: the command whose first number with a dot is the version.
        source: the source's name where none is given.
        compiling: the command that must succeed before the program runs; ``{args}``,
            ``{source}`` and ``{linkargs}`` are filled in. Empty: none.
        running: the command; ``{args}``, ``{source}`` and ``{main}`` are filled in.
        compileargs, interpreterargs: for a run that names none.
        megabytes: of address space; 0: it reserves more than it uses, and the box alone counts.
        tasks: processes and threads that it needs at the least.
        silent: whether a compiler that says something on stderr has failed.
    """

    program: str
    version: str
    source: str
    running: str
    compiling: str = ""
    compileargs: tuple[str, ...] = ()
    interpreterargs: tuple[str, ...] = ()
    megabytes: int = 400
    tasks: int = 30
    silent: bool = True


LANGUAGES: Mapping[str, JobeLanguage] = {
    "c": JobeLanguage(
        program="usr/bin/gcc",
        version="gcc -dumpfullversion",
        source="prog.c",
        compiling="gcc {args} -o prog.exe {source} {linkargs}",
        running="./prog.exe {args}",
        compileargs=("-Wall", "-Werror", "-std=c99", "-x c"),
    ),
    "cpp": JobeLanguage(
        program="usr/bin/g++",
        version="g++ -dumpfullversion",
        source="prog.cpp",
        compiling="g++ {args} -o prog.exe {source} {linkargs}",
        running="./prog.exe {args}",
        compileargs=("-Wall", "-Werror"),
    ),
    "java": JobeLanguage(
        program="usr/bin/javac",
        version="javac -version",
        source="prog.java",
        compiling="javac {args} {source}",
        running="java {args} {main}",
        interpreterargs=("-Xrs", "-Xss8m", "-Xmx200m"),
        megabytes=0,
        tasks=256,
    ),
    "nodejs": JobeLanguage(
        program="usr/bin/node",
        version="node --version",
        source="prog.js",
        running="node {args} {source}",
        interpreterargs=("--use_strict",),
        megabytes=0,
        tasks=64,
    ),
    "octave": JobeLanguage(
        program="usr/bin/octave-cli",
        version="octave-cli --version",
        source="prog.m",
        running="octave-cli {args} {source}",
        interpreterargs=("--norc", "--silent", "-H"),
        megabytes=0,
        tasks=64,
    ),
    "pascal": JobeLanguage(
        program="usr/bin/fpc",
        version="fpc -iV",
        source="prog.pas",
        compiling="fpc {args} -oprog.exe {source} {linkargs}",
        running="./prog.exe {args}",
        compileargs=("-vew", "-Se"),
        silent=False,  # its linker warns of what is none of the program's
    ),
    "php": JobeLanguage(
        program="usr/bin/php",
        version="php --version",
        source="prog.php",
        compiling="php -l {source}",
        running="php {args} {source}",
        interpreterargs=("--no-php-ini",),
    ),
    "python3": JobeLanguage(
        program="usr/bin/python3",
        version="python3 --version",
        source="prog.py",
        compiling="python3 -m py_compile {source}",
        running="python3 {args} {source}",
        interpreterargs=("-BE",),
        megabytes=1000,
    ),
}
