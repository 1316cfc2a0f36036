#!/bin/bash
# passagemath: to hear that an optional program is missing starts three shells, wanted or not.
#
# passagemath-environment 10.8.13, Python 3.11 to 3.13. `Feature.is_present()` answers with an object that
# is true or false; one who only asks for that would guess that it looks along PATH. Where the answer is
# no and the feature names a Sage package, the object is made with its `resolution`, a sentence on how to
# install what is missing, and for this sentence three commands are run by /bin/sh:
# `sage-guess-package-system`, `sage -p` and `sage -pip --version`. The answer is kept in the process, so
# each new one asks again. With Sage installed the last two are shell scripts with some hundred processes
# between them: a Sage kernel's first display asks for something optional, and spends more than half of
# its start on a sentence that nobody reads. Asked once before processes are forked, their children are
# spared it.
. "$(dirname "$0")/lib/said.sh"

venv sage passagemath-environment==10.8.13
cat > ask.py <<'P'
import sys

commands = []
sys.addaudithook(
    lambda event, args: commands.append(args[1][-1]) if event == "subprocess.Popen" else None
)
from sage.features import Executable


def ask(name, **more):
    commands.clear()
    there = bool(Executable(name, executable=name, **more).is_present())
    return f"{there} {commands}"


asked = "['sage-guess-package-system', 'sage -p', 'sage -pip --version']"
print("there", ask("sh", spkg="x") == "True []")
print("no package", ask("not-there") == "False []")
print("missing", ask("not-there-either", spkg="x", type="optional") == f"False {asked}")
print("again", ask("nor-this", spkg="x", type="optional") == "False []")
P
expect "one that is there, one without a package, one that is missing, another" \
    "$(sage/bin/python ask.py | tr '\n' ' ')" "there True no package True missing True again True "
