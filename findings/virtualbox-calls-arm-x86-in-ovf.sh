#!/bin/bash
# OVF: a machine for ARM is one for x86, says the part of the envelope that everybody reads.
#
# VirtualBox 7.2.22 of Debian's sid. What it exports of a machine for ARM has, in OVF's own words, the
# guest system number 96 with the description Debian_64, which is VirtualBox's name of Debian on x86-64,
# the same as for a machine for x86. That it is for ARM only VirtualBox's own elements tell (OSType,
# Platform), which OVF has readers skip. So whoever goes by the standard (another hypervisor, a script that
# sorts images) takes it for x86; one must look for vbox:OSType or the platform.
. "$(dirname "$0")/lib/sid.sh"

sid virtualbox
manage=/usr/lib/virtualbox/VBoxManage
inside $manage --version
inside $manage createvm --name lab --platform-architecture arm --ostype Debian_arm64 --register >/dev/null
# Another service has it, as each command here has its own: see virtualbox-exports-arm-after-a-rest.sh.
inside $manage export lab -o /tmp/lab.ova >/dev/null 2>&1
envelope=$(tar -xOf sid/tmp/lab.ova lab.ovf)
expect "OVF's own number" "$(grep -o 'OperatingSystemSection ovf:id="[0-9]*"' <<<"$envelope")" \
    'OperatingSystemSection ovf:id="96"'
expect "and description" "$(grep -A2 OperatingSystemSection <<<"$envelope" | grep -o '<Description>.*</Description>')" \
    "<Description>Debian_64</Description>"
expect "VirtualBox's own" "$(grep -o '<vbox:OSType.*</vbox:OSType>' <<<"$envelope")" \
    '<vbox:OSType ovf:required="false">Debian_arm64</vbox:OSType>'
expect "and platform" "$(grep -o '<Platform architecture="[A-Z]*">' <<<"$envelope")" '<Platform architecture="ARM">'
