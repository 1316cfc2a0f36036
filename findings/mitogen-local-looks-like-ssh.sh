#!/bin/bash
# mitogen's local connection hands out the output of `raw` and `script` as an ssh terminal would.
#
# ansible-core 2.19.14, mitogen 0.3.54, `connection: local`. With Ansible's own strategy the output of
# `raw` and `script` has plain line feeds, and stderr is empty. The same play under `mitogen_linear`
# gets CR LF at each line's end and "Shared connection to localhost closed." on stderr, though there is
# neither ssh nor a terminal, and `raw` runs in bash instead of sh. `command` and `shell` are alike in
# both. What compares a multi-line stdout, or takes a line on stderr for trouble, sees the difference.
. "$(dirname "$0")/lib/said.sh"

venv env ansible-core==2.19.14 mitogen==0.3.54
echo 'printf "1\n2\n"' > lines.sh
chmod +x lines.sh
cat > play.yml <<'END'
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - {raw: 'printf "1\n2\n"; echo ${BASH_VERSION:+bash}', register: by_raw}
    - {script: lines.sh, register: by_script}
    - {shell: 'printf "1\n2\n"', register: by_shell}
    - copy:
        dest: "{{ out }}"
        content: |
          raw {{ by_raw.stdout | to_json }} {{ by_raw.stderr | to_json }}
          script {{ by_script.stdout | to_json }} {{ by_script.stderr | to_json }}
          shell {{ by_shell.stdout | to_json }} {{ by_shell.stderr | to_json }}
END
plugins=$(echo "$work"/env/lib/python3*/site-packages/ansible_mitogen/plugins/strategy)
play() {
    HOME=$work ANSIBLE_STRATEGY=$1 ANSIBLE_STRATEGY_PLUGINS=$plugins env/bin/ansible-playbook \
        -i localhost, -e "out=$work/$1" -e ansible_python_interpreter=/usr/bin/python3 play.yml \
        > log 2>&1 || cat log
    cat "$1"
}
expect "Ansible's own" "$(play linear)" 'raw "1\n2\n\n" ""
script "1\n2\n" ""
shell "1\n2" ""'
expect "with mitogen" "$(play mitogen_linear)" \
    'raw "1\r\n2\r\nbash\r\n" "Shared connection to localhost closed.\r\n"
script "1\r\n2\r\n" "Shared connection to localhost closed.\r\n"
shell "1\n2" ""'
