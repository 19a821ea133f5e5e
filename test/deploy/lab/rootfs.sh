#!/bin/sh
# rootfs.sh DIR: a minimal Debian root that boots systemd, with polkit and user sessions
set -eu
[ -x "$1/usr/sbin/logrotate" ] && exit 0
debootstrap --variant=minbase \
  --include=systemd,systemd-sysv,dbus,procps,ca-certificates,iproute2,curl,jq,libstdc++6,libpam-systemd,polkitd,logrotate,openssh-server,openssh-client \
  bookworm "$1" >"$1.log" 2>&1
