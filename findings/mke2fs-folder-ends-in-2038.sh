#!/bin/bash
# mke2fs -d: a file of the year 2040 is one of January 2038, and every time loses its fraction.
#
# e2fsprogs 1.47.4 (sid). ext4 with inodes of 256 bytes, which mke2fs makes, keeps times up to the year
# 2446, in nanoseconds. `mke2fs -d FOLDER` fills a file system by times of 32 bits and leaves the field
# for the rest at zero: what the folder dates later becomes 2038-01-19 03:14:07, and 678 ms are none.
# (1.47.0, of Debian 12, does not even stop there: 2040 becomes 1904.) Nothing is said, the status is 0,
# and e2fsck finds nothing. What compares by time (rsync, make, restic) takes the whole tree for changed.
# A file that is copied into the mounted file system keeps its time.
. "$(dirname "$0")/lib/sid.sh"

sid e2fsprogs
mkdir sid/tmp/folder mounted
touch -d '2040-05-06T07:08:09.678Z' sid/tmp/folder/late
touch -d '2020-05-06T07:08:09.678Z' sid/tmp/folder/now

inside mke2fs -V 2>&1 | head -1
inside mke2fs -q -t ext4 -d /tmp/folder /tmp/made.img 20M 2> /dev/null
expect "e2fsck's status" "$(inside e2fsck -fn /tmp/made.img > /dev/null 2>&1; echo $?)" 0
# the seconds' low half, and the field for the rest
field() { inside debugfs -R "stat $1" /tmp/made.img 2> /dev/null | grep -o 'mtime: [0-9a-fx:]*'; }
expect "2040, in the file system" "$(field late)" "mtime: 0x7fffffff:00000000"
expect "2020 and 678 ms, in the file system" "$(field now)" "mtime: $(printf '0x%08x' 1588748889):00000000"
unshare --mount --propagation private bash -c '
    mount -o loop sid/tmp/made.img mounted && cp -p sid/tmp/folder/late mounted/copied
    for file in late now copied; do TZ=UTC stat -c %y mounted/$file; done' > seen
expect "2040, read by the kernel" "$(sed -n 1p seen)" "2038-01-19 03:14:07.000000000 +0000"
expect "2020, read by the kernel" "$(sed -n 2p seen)" "2020-05-06 07:08:09.000000000 +0000"
expect "2040, copied while it is mounted" "$(sed -n 3p seen)" "2040-05-06 07:08:09.678000000 +0000"
