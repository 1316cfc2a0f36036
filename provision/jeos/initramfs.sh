#!/bin/sh
# The initramfs of each kernel below $1, made once, when all that goes into it is installed.
# The environment's INITRD=No kept the packages from making it at each of their triggers.
set -eu
for kernel in "$1"/boot/vmlinuz-*; do
    version=${kernel##*/vmlinuz-}
    chroot "$1" update-initramfs -c -k "$version"
    if [ -L "$1/vmlinuz" ]; then ln -sf "boot/initrd.img-$version" "$1/initrd.img"; fi
    if [ -L "$1/boot/vmlinuz" ]; then ln -sf "initrd.img-$version" "$1/boot/initrd.img"; fi
done
