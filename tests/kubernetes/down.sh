#!/bin/bash
# down.sh : ends what up.sh started (by recorded pid and start time) and removes its cgroups, network namespace and state.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"

# gone TENTHS PID START : whether the process ends within TENTHS of a second
gone() {
  local _
  for _ in $(seq "$1"); do
    [ "$(stat_start "$2")" = "$3" ] || return 0
    sleep 0.1
  done
  return 1
}

# end PID START : unshare itself blocks TERM; its child is PID 1 of the namespace, and with it goes all that runs inside
end() {
  local pid=$1 start=$2 target
  [ -n "$start" ] && [ "$(stat_start "$pid")" = "$start" ] || return 0
  target=$(tr -d ' ' < "/proc/$pid/task/$pid/children" 2>/dev/null || true)
  kill -TERM "${target:-$pid}" 2>/dev/null || true
  gone 30 "$pid" "$start" && return
  kill -KILL ${target:+"$target"} "$pid" 2>/dev/null || true
  gone 100 "$pid" "$start"
}

# remove_cgroup DIR : the kernel refuses while a process is still leaving
remove_cgroup() {
  local _
  for _ in $(seq 50); do
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    [ -d "$1" ] || return 0
    sleep 0.1
  done
}

for file in "$HK_RUN"/pid-fwd-* "$HK_RUN"/pid; do
  [ -e "$file" ] || continue
  read -r pid start < "$file" || true
  end "$pid" "${start-}"
  rm -f "$file"
done
for group in /sys/fs/cgroup/*/"$HK_NAME" /sys/fs/cgroup/"$HK_NAME"; do
  if [ -d "$group" ]; then remove_cgroup "$group"; fi
done
[ ! -e "/run/netns/$HK_NAME" ] || ip netns del "$HK_NAME"
case $HK_RUN in */run-*) rm -rf --one-file-system "$HK_RUN";; esac
[ ! -e "$HK_RUN" ] || die "left over: $HK_RUN"
