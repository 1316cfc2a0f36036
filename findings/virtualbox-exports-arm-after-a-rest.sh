#!/bin/bash
# VirtualBox: a machine for ARM cannot be exported at once, and can when nobody has asked for a while.
#
# VirtualBox 7.2.22 of Debian's sid, on an amd64 host. `createvm --platform-architecture arm`, then
# `export`: refused, for want of a network adapter in slot 8, though nobody asked for one. A machine for
# x86 that is made in the same way is exported. Nothing need be changed to mend it: the
# service behind VBoxManage ends some seconds after the last question, and the next one, which reads
# the machine from its file, knows it has eight slots. A script that makes and exports in one go fails,
# and the same by hand works.
. "$(dirname "$0")/lib/sid.sh"

sid virtualbox
manage=/usr/lib/virtualbox/VBoxManage
inside $manage --version
make_and_export='
    $0 createvm --name $1 --platform-architecture $1 --register >/dev/null
    $0 export $1 -o /tmp/$1.ova 2>&1'
expect "x86, at once" "$(inside bash -c "$make_and_export" $manage x86 | tail -1)" \
    "Successfully exported 1 machine(s)."
expect "ARM, at once" \
    "$(inside bash -c "$make_and_export" $manage arm | grep -om1 'No network adapter in slot 8')" \
    "No network adapter in slot 8"
# Another process namespace, so another service: as after a rest.
expect "ARM, after a rest" "$(inside $manage export arm -o /tmp/arm.ova 2>&1 | tail -1)" \
    "Successfully exported 1 machine(s)."
