#!/bin/bash
# mke2fs -O quota -d: the quota files of a file system that is made full count root's files only.
#
# e2fsprogs 1.47.0 (Debian 12) to 1.47.4 (sid). `mke2fs -O quota -d FOLDER` copies a folder with its
# owners, says nothing, ends with 0 and marks the file system clean. But every block and inode is
# booked to user and group 0: `e2fsck -fn` misses the other owners, and ends with 4. Mounted, a
# student starts with a quota of which nothing is used. `tune2fs -Q usrquota,grpquota` on an image that
# was made without the feature counts right.
. "$(dirname "$0")/lib/sid.sh"

sid e2fsprogs
mkdir sid/tmp/home
head -c 100000 /dev/zero | tr '\0' x > sid/tmp/home/essay
chown 1000:1000 sid/tmp/home/essay

check() { inside e2fsck -fn "$1" 2>&1 | grep -o 'Missing quota entry ID [0-9]*\|still has errors' | sort -u | paste -sd, || true; }

inside mke2fs -V 2>&1 | head -1
inside mke2fs -q -t ext4 -O quota -d /tmp/home /tmp/made.img 20M
expect "made full, with quota" "$(check /tmp/made.img)" "Missing quota entry ID 1000,still has errors"
inside mke2fs -q -t ext4 -d /tmp/home /tmp/later.img 20M
inside tune2fs -O quota -Q usrquota,grpquota /tmp/later.img > /dev/null
expect "quota added afterwards" "$(check /tmp/later.img)" ""
