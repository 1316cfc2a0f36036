#!/bin/bash
# restic dump --archive tar: not the files that restore brings back.
#
# restic 0.19.1 of Debian's sid. One snapshot, taken out in two ways. `restore` keeps two names of one
# file, and nanoseconds. `dump --archive tar` writes a file with two names twice, and cuts times to
# seconds, though tar has words for both and restic writes the extended attributes in just those. It
# says nothing of that, and both end with 0. A home with many hard links, such as a package manager's
# store, comes out of a dump several times as large as it went in.
. "$(dirname "$0")/lib/sid.sh"

sid restic tar
mkdir sid/tmp/home sid/tmp/dumped
head -c 1000000 /dev/zero > sid/tmp/home/a
ln sid/tmp/home/a sid/tmp/home/b
touch -d '2020-01-02 03:04:05.678901234' sid/tmp/home/a
restic() { inside env RESTIC_PASSWORD=x RESTIC_REPOSITORY=/tmp/repo restic "$@"; }
restic version
restic init -q
restic backup -q /tmp/home
restic restore -q latest:/tmp/home --target /tmp/restored
inside bash -c 'RESTIC_PASSWORD=x restic -r /tmp/repo dump -q --archive tar latest:/tmp/home / |
    tar -x -C /tmp/dumped'
seen() { (cd "sid/tmp/$1" && echo "$(ls | paste -sd ' '); names of a: $(stat -c %h a); $(stat -c %.Y a | grep -o '\..*')"); }
expect "restored" "$(seen restored)" "a b; names of a: 2; .678901234"
expect "dumped" "$(seen dumped)" "a b; names of a: 1; .000000000"
