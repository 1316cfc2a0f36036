"""What students get of a file, by what its comments say.

Source: tmc-langs, "Exercise template annotations".
"""

import re

_FILE = re.compile(r"^[ \t]*#[ \t]*(SOLUTION|HIDDEN)[ \t]+FILE\b", re.MULTILINE)
_EDGE = re.compile(r"[ \t]*#[ \t]*(BEGIN|END)[ \t]+(SOLUTION|HIDDEN)\b")
_STUB = re.compile(r"([ \t]*)#[ \t]*STUB:[ \t]?(.*)")


def strip(name: str, text: str) -> str | None:
    """A file without solutions and hidden tests; None: students do not get it.

    Args:
        name: of the file.
        text: what is in it.

    Raises:
        ValueError: what begins does not end; in words that name file and line.
    """
    if _FILE.search(text):
        return None
    found: list[str] = []
    inside, since = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if edge := _EDGE.match(line):
            edges = {"BEGIN": "", "END": edge[2]}
            if inside != edges[edge[1]]:
                other = "BEGIN" if edge[1] == "END" else "END"
                raise ValueError(
                    f"{name}, line {number}: {line.strip()!r} without {other} {inside or edge[2]}"
                    " before it: write it, or leave this out"
                )
            inside, since = (edge[2], number) if edge[1] == "BEGIN" else ("", 0)
        elif inside:
            continue
        elif stub := _STUB.match(line):
            found.append(f"{stub[1]}{stub[2]}")
        else:
            found.append(line)
    if inside:
        raise ValueError(f"{name}, line {since}: BEGIN {inside} without END {inside} after it")
    return "\n".join(found)
