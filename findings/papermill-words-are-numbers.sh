#!/bin/bash
# papermill -p: what looks like text to a teacher becomes a number, by Python's own rules.
#
# papermill 2.7.0, `papermill -p NAME VALUE`. The value is tried as None, True, False, then by Python's
# int() and float(), so all that those two take is a number in the notebook: the seat 007 is 7, the
# room 1_000 is 1000, a pupil called "nan" or "Infinity" is a float that equals nothing or all.
# `true` and `0x10` stay text. `-r` hands all of them over as they are.
. "$(dirname "$0")/lib/said.sh"

venv env papermill==2.7.0
cat > in.ipynb <<'END'
{"cells": [{"cell_type": "code", "execution_count": null, "id": "a", "outputs": [],
            "metadata": {"tags": ["parameters"]}, "source": ["x = ''"]}],
 "metadata": {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}},
 "nbformat": 4, "nbformat_minor": 5}
END
injected() {
    env/bin/papermill --prepare-only in.ipynb - "$@" 2>/dev/null | python3 -c '
import json, sys
cells = json.load(sys.stdin)["cells"]
found = [c for c in cells if "injected-parameters" in c["metadata"].get("tags", [])]
print(found[0]["source"][-1].strip())'
}

expect "-p x 007" "$(injected -p x 007)" "x = 7"
expect "-p x 1_000" "$(injected -p x 1_000)" "x = 1000"
expect "-p x nan" "$(injected -p x nan)" "x = float('nan')"
expect "-p x Infinity" "$(injected -p x Infinity)" "x = float('inf')"
expect "-p x true" "$(injected -p x true)" 'x = "true"'
expect "-p x 0x10" "$(injected -p x 0x10)" 'x = "0x10"'
expect "-r x 007" "$(injected -r x 007)" 'x = "007"'
