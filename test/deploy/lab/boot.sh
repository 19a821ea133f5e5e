#!/bin/sh
# boot.sh DIR RUN: boots DIR's systemd in a network of its own; RUN gets nspawn.pid, leader.pid (its PID 1) and the log
set -eu
mkdir -p "$2"
systemd-nspawn --quiet --register=no --keep-unit --private-network --console=read-only \
  -b -D "$1" --machine="watchdog$$" </dev/null >"$2/nspawn.log" 2>&1 &
echo $! >"$2/nspawn.pid"
for _ in $(seq 200); do
  leader=$(awk '{print $1}' "/proc/$!/task/$!/children" 2>/dev/null || true)
  [ -n "$leader" ] && [ "$(cat "/proc/$leader/comm")" = systemd ] && break
  sleep .1
done
echo "$leader" >"$2/leader.pid"
