"""Programs of this host's own architecture for the tree of another one.

What unpacks and configures packages is a few programs that are started thousands of times. Where
they are emulated, a start costs up to fifty times its own, so in such a tree these are the host's:
of the guest's own packages, in the same version, with their libraries, for which no other
architecture has a use. What says of which architecture it is (dpkg, uname), or makes something for
one (python3, ldconfig), stays the guest's.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from provision import temporary
from provision.config.architectures import ARCHITECTURES, of_this_host
from provision.jeos.archive import SourceLine
from provision.jeos.proxy import Proxy
from provision.process import require, run

PACKAGES = (
    *("coreutils", "cpio", "dash", "debianutils", "diffutils", "dpkg", "findutils", "grep"),
    *("gzip", "mawk", "perl", "perl-base", "python3-minimal", "sed", "tar", "util-linux"),
    *("xz-utils", "zstd"),
)
PROGRAMS = (
    *("[", "basename", "cat", "chgrp", "chmod", "chown", "cksum", "cmp", "comm", "cp", "cpio"),
    *("cut", "dash", "date", "diff", "dirname", "dpkg-deb", "du", "echo", "env", "expr", "false"),
    *("find", "flock", "grep", "gzip", "head", "id", "install", "join", "ln", "ls", "mawk"),
    *("md5sum", "mkdir", "mkfifo", "mktemp", "mv", "nl", "od", "paste", "perl", "printf", "pwd"),
    *("readlink", "realpath", "rm", "rmdir", "run-parts", "savelog", "sed", "seq", "sha256sum"),
    *("sleep", "sort", "split", "stat", "sync", "tail", "tar", "tee", "test", "timeout", "touch"),
    *("tr", "true", "truncate", "tsort", "uniq", "update-alternatives", "wc", "xargs", "xz"),
    "zstd",
)
# Beside the libraries: one that compiles Python, whose byte code is the same for all.
COMPILER = "appliance/python3"
BIND = Path(__file__).with_name("native.sh")
_UNUSED = ("gconv",)  # of the libraries, the most of their bytes


def make_native(
    sources: Sequence[SourceLine], target: Path, *, epoch: int, proxy: Proxy | None = None
) -> None:
    """Make a directory of these programs, each where the guest has its own.

    Args:
        sources: of packages for this host's architecture, the suite itself first.
        target: the directory to make.
        epoch: the time that stands in new files, in seconds since 1970.
        proxy: of the downloads; None: none.

    Raises:
        CommandFailedError: mmdebstrap failed.
    """
    here = ARCHITECTURES[of_this_host()]
    libraries = Path("usr/lib", here.triplet)
    with temporary.directory(target.parent) as scratch:
        whole = scratch / "root"
        argv = [
            require("mmdebstrap", "mmdebstrap"),
            *("--mode=root", "--variant=extract", "--format=directory"),
            f"--include={','.join(PACKAGES)}",
            '--aptopt=Acquire::Languages "none"',
            '--aptopt=APT::Install-Recommends "false"',
            *(sources[0].suite, str(whole), "-"),
        ]
        run(
            argv,
            stdin="".join(source.line() + "\n" for source in sources).encode(),
            env={
                "SOURCE_DATE_EPOCH": str(epoch),
                "TMPDIR": str(scratch),
                **(proxy.environment() if proxy else {}),
            },
        )
        unused = shutil.ignore_patterns(*_UNUSED)
        shutil.copytree(whole / libraries, target / libraries, symlinks=True, ignore=unused)
        # A Perl that has some of its modules and not those that they ask for is worse than none.
        for modules in (whole / "usr/share/perl").iterdir():
            if not modules.is_symlink():
                perl = target / libraries / "perl" / modules.name
                shutil.copytree(modules, perl, symlinks=True, dirs_exist_ok=True)
        (target / "usr/bin").mkdir()
        for name in PROGRAMS:
            if (whole / "usr/bin" / name).is_file():
                shutil.copy2(whole / "usr/bin" / name, target / "usr/bin")
        compiler = target / libraries / COMPILER
        compiler.parent.mkdir()
        shutil.copy2((whole / "usr/bin/python3").resolve(), compiler)
        for loader in whole.glob(f"usr/lib*/{here.loader}"):  # where the kernel looks for it
            place = target / loader.parent.relative_to(whole)
            place.mkdir(exist_ok=True)
            (place / loader.name).symlink_to(loader.readlink())
            if place.name != "lib":
                (target / place.name).symlink_to(f"usr/{place.name}")
