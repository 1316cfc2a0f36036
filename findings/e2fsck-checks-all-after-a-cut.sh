#!/bin/bash
# e2fsck of Debian 12: a file system of a newer mke2fs is checked whole after a power cut.
#
# e2fsprogs 1.47.0 (bookworm) and 1.47.4 (sid). Newer ones make ext4 with an orphan file; while it is
# mounted and has been written to, the kernel notes in the first superblock alone that there may be
# orphans. `e2fsck -p` of 1.47.0, as a boot calls it, replays the journal and then takes that note for a
# damage of the superblock: "features different from backup, check forced", minutes on a large disk, and
# status 1, which is "mended". The newer one replays, and is done.
. "$(dirname "$0")/lib/sid.sh"

sid e2fsprogs
SUITE=bookworm sid e2fsprogs
mkdir mounted

inside mke2fs -V 2>&1 | head -1
SUITE=bookworm inside mke2fs -V 2>&1 | head -1
inside mke2fs -q -t ext4 /tmp/made.img 64M 2> /dev/null
unshare --mount --propagation private bash -c '
    mount -o loop sid/tmp/made.img mounted && echo text > mounted/file && sync -f mounted/file
    for root in sid bookworm; do cp --sparse=always sid/tmp/made.img $root/tmp/cut.img; done'

check() { inside e2fsck -p /tmp/cut.img > said 2>&1 && status=0 || status=$?; }
check
expect "newer: its status" "$status" 0
expect "newer: lines of a check" "$(grep -c 'check forced' said)" 0
SUITE=bookworm check
expect "1.47.0: its status" "$status" 1
expect "1.47.0: what it says" "$(grep -o 'superblock features different from backup, check forced' said)" \
    "superblock features different from backup, check forced"
expect "1.47.0: what it calls mended" "$(grep -o 'orphan_present is set but orphan file is clean' said)" \
    "orphan_present is set but orphan file is clean"
