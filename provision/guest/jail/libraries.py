"""The libraries that a jail's wheels link to: which of them it lacks, and who has them.

Wheels of the manylinux kind bring most of their libraries along and leave some to the system,
libstdc++ among them. The jail's own loader says which those are: it reads the ELF files and knows
where it would look, so that what a wheel brings along counts.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from provision import process
from provision.errors import ApplianceError
from provision.guest.sandbox import image
from provision.progress import step

# Runs in the jail. Of a shared object (or program) for this machine, 64 bits, x86-64: what the
# loader does not find. It loads, but runs nothing of the file.
_ASK = """
import json, os, struct, sys
lacks = {}
def ask(path):
    with open(path, 'rb') as stream:
        head = stream.read(20)
    if head[:5] != b'\\x7fELF\\x02' or len(head) < 20:
        return
    if struct.unpack_from('<HH', head, 16) not in ((3, 62), (2, 62)):
        return
    ours, theirs = os.pipe()
    moves = [(os.POSIX_SPAWN_DUP2, theirs, 1), (os.POSIX_SPAWN_DUP2, theirs, 2)]
    pid = os.posix_spawn(sys.argv[1], [sys.argv[1], '--list', path], {}, file_actions=moves)
    os.close(theirs)
    with open(ours, errors='replace') as said:
        lines = [line.strip() for line in said]
    if os.waitpid(pid, 0)[1] and not any('statically linked' in line for line in lines):
        wrong = [line for line in lines if 'not found' in line or 'error' in line]
        lacks[path] = wrong or lines or ['the loader refuses it']
    else:
        wrong = [line for line in lines if '=> not found' in line]
        lacks.update({path: wrong} if wrong else {})
for place, _, names in os.walk('/static'):
    for name in names:
        if not os.path.islink(path := os.path.join(place, name)):
            ask(path)
print(json.dumps(lacks))
"""
_LOADER = "/lib64/ld-linux-x86-64.so.2"
_NOT_FOUND = re.compile(r"(\S+) => not found|\b(\S+): cannot open shared object file")


def lacking(root: Path) -> dict[str, list[str]]:
    """What the loader says of each file below ``/static`` of a jail that it could not load whole.

    Args:
        root: the jail, with its Python.

    Raises:
        ApplianceError: it cannot be asked.
    """
    bwrap = process.require("bwrap", "bubblewrap")
    said = process.run(
        [
            *(bwrap, "--unshare-all", "--uid", "0", "--gid", "0", "--ro-bind", str(root), "/"),
            *("--proc", "/proc", "--dev", "/dev", "/usr/bin/python3", "-I", "-S"),
            *("-c", _ASK, _LOADER),
        ]
    )
    found: dict[str, list[str]] = json.loads(said)
    return found


def names(lacks: Mapping[str, Iterable[str]]) -> list[str]:
    """The libraries that are missing, of what `lacking` found."""
    found = (_NOT_FOUND.search(line) for lines in lacks.values() for line in lines)
    return sorted({match[1] or match[2] for match in found if match})


def packages(wanted: Iterable[str], recipe: image.Recipe, scratch: Path) -> list[str]:
    """The packages of a recipe's suite that are called as the libraries are.

    Debian names a library's package after what is linked to (Policy, 8.1), so that no index of
    all files is needed; that they have the library is seen by `lacking` when they are there.
    """
    lists = scratch / "lists"
    with step("Looking for the libraries' packages"):
        image.indexes(recipe, scratch)
        known = set()
        for path in lists.glob("*_Packages*"):
            text = process.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)])
            known |= set(re.findall(r"^Package: (\S+)$", text, re.MULTILINE))
    found = []
    for name in wanted:
        found += [each for each in candidates(name) if each in known][:1]
    return sorted(set(found))


def candidates(name: str) -> list[str]:
    """What the package of a library may be called: ``libstdc++.so.6`` is in ``libstdc++6``."""
    stem, _, version = name.lower().replace("_", "-").partition(".so")
    version = version.lstrip(".")
    stems = dict.fromkeys((stem, re.sub(r"-(?=\d)", "", stem)))
    plain = [f"{each}{dash}{version}" for each in stems for dash in ("", "-")] if version else []
    return [f"{each}{suffix}" for each in (*plain, stem) for suffix in ("", "t64")]


def check(root: Path) -> None:
    """Refuse a jail whose wheels cannot be loaded.

    Raises:
        ApplianceError: a library is missing, or too old; says which, and for which files.
    """
    lacks = lacking(root)
    if not lacks:
        return
    lines = [
        f"/{path.lstrip('/')}: {wrong}" for path, told in sorted(lacks.items()) for wrong in told
    ]
    more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
    raise ApplianceError(
        f"the jail lacks {', '.join(names(lacks)) or 'what its wheels link to'}:\n  "
        + "\n  ".join(lines[:10])
        + more,
        hint="name the Debian package that has it: --package NAME, or jail.packages",
    )
