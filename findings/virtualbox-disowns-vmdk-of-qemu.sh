#!/bin/bash
# VMDK: an image of qemu's is inaccessible for VirtualBox from the moment that it knows it.
#
# VirtualBox 7.2.22 and qemu-img 11.1.3, both of Debian's sid. qemu-img's VMDK has no UUID of
# VirtualBox's in its descriptor. The first call that names the file makes one up for the registry, does
# not write it into the file, and then compares the two: `showmediuminfo` shows the format, the size, and
# "State: inaccessible" with a UUID of zeros that does not match, at the first call as at every later
# one. Its status is 0, and `storageattach` takes the image all the same. The same bytes as VDI are fine.
. "$(dirname "$0")/lib/sid.sh"

sid virtualbox qemu-utils
manage=/usr/lib/virtualbox/VBoxManage
inside $manage --version
inside qemu-img --version | head -1
state() { inside $manage showmediuminfo "$1" | sed -n 's/^State: *//p'; }

for variant in monolithicSparse streamOptimized; do
    inside qemu-img create -q -f raw /tmp/$variant.raw 64M
    inside qemu-img convert -f raw -O vmdk -o subformat=$variant /tmp/$variant.raw /tmp/$variant.vmdk
    expect "$variant, the first look" "$(state /tmp/$variant.vmdk)" "inaccessible"
    expect "$variant, the second look" "$(state /tmp/$variant.vmdk)" "inaccessible"
done
inside $manage createvm --name seat --register --basefolder /tmp/vms > /dev/null
inside $manage storagectl seat --name SATA --add sata
expect "attached all the same" \
    "$(inside $manage storageattach seat --storagectl SATA --port 0 --device 0 --type hdd \
        --medium /tmp/monolithicSparse.vmdk > /dev/null 2>&1 && echo yes)" "yes"
inside qemu-img create -q -f vdi /tmp/a.vdi 64M
expect "as VDI" "$(state /tmp/a.vdi)" "created"
