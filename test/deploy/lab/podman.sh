#!/bin/sh
# podman.sh LAB: a configuration for podman that works as root without systemd and on hybrid cgroups; prints its variables
set -eu
mkdir -p "$1/store" "$1/run"
cat >"$1/storage.conf" <<C
[storage]
driver = "overlay"
graphroot = "$1/store"
runroot = "$1/run"
C
cat >"$1/containers.conf" <<C
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=16384:16384"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
C
cp /etc/ssl/certs/ca-certificates.crt "$1/ca.crt"
echo 'cafile=/etc/ssl/certs/ca-certificates.crt' >"$1/npmrc"
