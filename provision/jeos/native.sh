#!/bin/sh
# Put the programs of native.py in the place of those that a tree has, or take them away again.
# usage: native.sh bind|release ROOT NATIVE
set -eu
what=$1 root=$2
cd "$3"
for place in usr/bin/*; do
    if [ "$what" = bind ] && [ -f "$root/$place" ]; then
        mount --bind "$place" "$root/$place"
    elif [ "$what" = release ] && mountpoint -q "$root/$place"; then
        umount "$root/$place"
    fi
done
for place in usr/lib/*-linux-* usr/lib/ld-linux* usr/lib64 lib64; do  # the tree has none of these
    if [ "$what" = bind ]; then
        if [ -L "$place" ]; then cp -P "$place" "$root/$place"; fi
        if [ -d "$place" ] && [ ! -L "$place" ]; then
            mkdir "$root/$place"
            mount --bind "$place" "$root/$place"
        fi
    elif [ -L "$root/$place" ]; then
        rm "$root/$place"
    elif [ -d "$root/$place" ]; then
        umount "$root/$place"
        rmdir "$root/$place"
    fi
done
