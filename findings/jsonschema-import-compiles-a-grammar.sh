#!/bin/bash
# jsonschema: with its extra `format-nongpl` the import compiles a grammar, which is most of the time.
#
# jsonschema 4.26.0, rfc3987-syntax 1.1.0, lark 1.3.1, Python 3.11 to 3.13. The extra is for who checks
# formats; one would guess that it costs who does. `import jsonschema` tries what of the extra is there at
# once, and rfc3987-syntax builds a parser of IRIs with lark as it is imported: nine tenths of the whole
# import, one to two seconds on a good day. jupyter-events asks for the extra, so each JupyterHub and each
# student's server waits for it at each start and holds the tables, though neither checks an IRI. Where
# rfc3987-syntax is not there, jsonschema says nothing and leaves that one format unchecked.
. "$(dirname "$0")/lib/said.sh"

venv with 'jsonschema[format-nongpl]==4.26.0' rfc3987-syntax==1.1.0 lark==1.3.1
venv without jsonschema==4.26.0
cat > look.py <<'P'
import subprocess
import sys

told = subprocess.run(
    [sys.executable, "-X", "importtime", "-c", "import jsonschema"], capture_output=True, text=True
).stderr
took = {}
for line in told.splitlines():
    _, _, rest = line.partition("import time:")
    own, whole, name = (word.strip() for word in rest.split("|"))
    if own.isdigit():
        took[name] = int(whole)
share = took.get("rfc3987_syntax", 0) / took["jsonschema"]
print("half and more" if share > 0.5 else "less than a fiftieth" if share < 0.02 else "less than half")
P
cat > check.py <<'P'
import jsonschema

checker = jsonschema.FormatChecker()
print("iri" in checker.checkers, checker.conforms("not an IRI", "iri"))
P
expect "the grammar's part of the import" "$(with/bin/python look.py)" "half and more"
expect "without the extra" "$(without/bin/python look.py)" "less than a fiftieth"
expect "an IRI is checked, and this one is right, with it" "$(with/bin/python check.py)" "True False"
expect "and without" "$(without/bin/python check.py)" "False True"
