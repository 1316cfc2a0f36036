#!/bin/bash
# ruamel.yaml: the same call reads another language when an optional wheel is installed.
#
# ruamel.yaml 0.19.1, `YAML(typ="safe")`. Without ruamel.yaml.clib it is the Python scanner, YAML 1.2
# with the directive obeyed. With clib 0.2.15, which another package may bring along, the very same
# call is libyaml's scanner with ruamel's resolver, and
# - a plain scalar with a colon in a flow mapping, as in an IPv6 address or a URL, is refused;
# - `%YAML 1.1` is accepted and then ignored: 017 is 17 and no longer 15, `yes` is text, 1:30 is text;
# - a tab between key and value is accepted, which the other refuses.
# `typ="safe", pure=True` is the same everywhere.
. "$(dirname "$0")/lib/said.sh"

venv plain ruamel.yaml==0.19.1
venv with_c ruamel.yaml==0.19.1 ruamel.yaml.clib==0.2.15
cat > read.py <<'END'
import sys
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

try:
    print(YAML(typ="safe", pure="pure" in sys.argv).load(sys.stdin.read()))
except YAMLError as error:
    print("refused")
END
with() { printf "$2" | "$1/bin/python" read.py "${@:3}"; }

address='{address: 2001:db8::5}'
expect "an IPv6 address in a flow mapping, Python" "$(with plain "$address")" "{'address': '2001:db8::5'}"
expect "the same with clib installed" "$(with with_c "$address")" "refused"
expect "and with pure=True" "$(with with_c "$address" pure)" "{'address': '2001:db8::5'}"
old='%%YAML 1.1\n---\nseat: 017\nopen: yes\nhour: 1:30\n'
expect "YAML 1.1, Python" "$(with plain "$old")" "{'seat': 15, 'open': True, 'hour': 90}"
expect "the same with clib installed" "$(with with_c "$old")" "{'seat': 17, 'open': 'yes', 'hour': '1:30'}"
expect "a tab after the colon, Python" "$(with plain 'a:\tb')" "refused"
expect "the same with clib installed" "$(with with_c 'a:\tb')" "{'a': 'b'}"
