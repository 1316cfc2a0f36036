#!/bin/bash
# compileall: the byte code of a file is another where a file before it has used one of its words.
#
# Python 3.13 (trixie). Two functions test `kind in {"sink", "swim"}`: the compiler makes one constant of
# both and the .pyc refers to it twice. Compiled after a class that has a method `sink`, by the same
# process, each function keeps a set of its own and the .pyc is ten bytes longer: names live on in the
# process, sets that contain them are made anew to share them, and are no longer one. So a .pyc does not
# follow from its source and its Python alone. `compileall -j` gives files to whichever worker is free:
# two runs over the same tree differ now and then, whatever SOURCE_DATE_EPOCH, PYTHONHASHSEED and the way
# of invalidation are, and an image with byte code is not the same bytes twice.
. "$(dirname "$0")/lib/sid.sh"

export SUITE=trixie
sid python3
place=trixie/tmp
mkdir "$place/alone" "$place/after"
cat > "$place/after/a.py" << 'END'
class Ship:
    def sink(self, words: dict[str, int]) -> dict[str, int]:
        pass
END
cat > "$place/alone/b.py" << 'END'
def first(fleet):
    for ship in fleet.ships:
        if ship.get("state", None) == "afloat":
            for kind in ship.get("orders", []):
                if word in {"swim", "sink"}:
                    pass


def second(fleet):
    for ship in fleet.ships:
        if ship.state == "afloat":
            for kind in ship.orders:
                if kind.word in {"swim", "sink"}:
                    pass
END
cp "$place/alone/b.py" "$place/after/"

inside python3 --version
for folder in alone after; do
    inside python3 -m compileall -q -s "/tmp/$folder" --invalidation-mode unchecked-hash "/tmp/$folder"
done
sets() {
    inside python3 -c '
import marshal, sys
with open(sys.argv[1], "rb") as file:
    module = marshal.loads(file.read()[16:])
kept = [k for code in module.co_consts if hasattr(code, "co_consts") for k in code.co_consts]
print(len({id(each) for each in kept if isinstance(each, frozenset)}))' "/tmp/$1/__pycache__/b.cpython-313.pyc"
}
expect "sets in b.pyc, compiled alone" "$(sets alone)" 1
expect "sets in b.pyc, compiled after a.py" "$(sets after)" 2
size() { stat -c %s "$place/$1/__pycache__/b.cpython-313.pyc"; }
expect "bytes that it is longer" "$(($(size after) - $(size alone)))" 10
