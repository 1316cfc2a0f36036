#!/bin/bash
# VHDX: what qemu-img writes, VirtualBox refuses; and VirtualBox itself writes none.
#
# VirtualBox 7.2.22 and qemu-img 11.1.3, both of Debian's sid. An empty image that qemu-img makes, and
# qemu-img itself finds whole, does not open: VirtualBox wants the block table's region to be marked as
# one that a reader must know, which qemu does not do. VirtualBox's own converter is no way out: it makes
# no VHDX at all. So VHDX, the one format that Hyper-V's second generation takes, is no bridge
# between the two; VHD (which rounds the size up to its geometry) is.
. "$(dirname "$0")/lib/sid.sh"

sid virtualbox qemu-utils
manage=/usr/lib/virtualbox/VBoxManage
inside $manage --version
inside qemu-img --version | head -1
inside qemu-img create -q -f vhdx /tmp/a.vhdx 64M
inside qemu-img create -q -f raw /tmp/a.raw 64M
expect "qemu-img check" "$(inside qemu-img check /tmp/a.vhdx 2>&1)" "No errors were found on the image."
expect "VirtualBox" \
    "$(inside $manage showmediuminfo /tmp/a.vhdx 2>&1 | grep -o 'BAT region not marked as required')" \
    "BAT region not marked as required"
expect "VirtualBox's own" \
    "$(inside $manage convertfromraw /tmp/a.raw /tmp/b.vhdx --format VHDX 2>&1 |
        grep -o "'VHDX' cannot create base images")" \
    "'VHDX' cannot create base images"
inside qemu-img create -q -f vpc /tmp/a.vhd 64M
expect "VHD instead" "$(inside $manage showmediuminfo /tmp/a.vhd 2>&1 | grep -o '^State: *created')" \
    "State:          created"
