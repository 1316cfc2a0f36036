#!/bin/bash
# restic backup of a relative path: the snapshot says where the folder was, not where it is in it.
#
# restic 0.19.1 of Debian's sid. After `cd /srv; restic backup home`, `snapshots` (and `forget`, which
# groups by it) tells the path /srv/home, but the tree begins at /home: `ls latest:/srv/home` and
# `restore latest:/srv/home` find nothing, `--include /srv/home` restores nothing and ends with 0. The same
# folder by its absolute path shows the same line in `snapshots`, shares its retention, and has the
# tree that the line tells of. Which of the two a snapshot is, only `ls` can say.
. "$(dirname "$0")/lib/sid.sh"

sid restic
mkdir -p sid/srv/home
echo essay > sid/srv/home/essay
restic() { inside env RESTIC_PASSWORD=x RESTIC_REPOSITORY=/tmp/repo restic "$@"; }
paths() { restic snapshots --json "$1" | grep -o '"paths":\[[^]]*\]'; }
first() { restic ls -q "$1" | head -1; }
restic version
restic init -q
inside bash -c 'cd /srv && RESTIC_PASSWORD=x restic -r /tmp/repo backup -q home'
expect "relative: told" "$(paths latest)" '"paths":["/srv/home"]'
expect "relative: in the tree" "$(first latest)" "/home"
expect "relative: by the told path" \
    "$(restic restore -q latest:/srv/home --target /tmp/a > /dev/null 2>&1 || echo "status $?")" "status 1"
expect "relative: included by the told path" \
    "$(restic restore -q latest --include /srv/home --target /tmp/b > /dev/null 2>&1 &&
        ls -A sid/tmp/b 2>/dev/null | wc -l)" "0"
restic backup -q /srv/home
expect "absolute: told" "$(paths latest)" '"paths":["/srv/home"]'
expect "absolute: in the tree" "$(first latest)" "/srv"
