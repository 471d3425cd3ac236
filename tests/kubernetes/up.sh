#!/bin/bash
# up.sh [api|control|node] : starts etcd + kube-apiserver (api), + controller-manager + scheduler (control),
# + containerd, kubelet, kube-proxy and CoreDNS in an own network namespace (node). Idempotent; waits until it is
# ready and prints the kubeconfig's path.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"

alive() {
  local pid start
  [ -e "$HK_RUN/pid" ] && read -r pid start < "$HK_RUN/pid" && [ "$(stat_start "$pid")" = "$start" ]
}

check_built() {
  local binaries=(etcd kube-apiserver) binary
  [ "$mode" = api ] || binaries+=(kube-controller-manager kube-scheduler)
  [ "$mode" != node ] || binaries+=(kubelet kube-proxy images/pause.tar)
  for binary in "${binaries[@]}"; do [ -e "$HK_BIN/$binary" ] || die "$HK_BIN/$binary is missing: run build.sh"; done
  command -v kubectl >/dev/null || die "kubectl is not on the PATH: run build.sh"
}

# The whole node lives in a network namespace with no way out. The bridge carries the node's address and has no
# uplink; service addresses must be routable before they are rewritten, hence the default route.
make_network() {
  ip netns add "$HK_NAME"
  "${enter[@]}" ip link set lo up
  "${enter[@]}" ip link add node0 type bridge
  "${enter[@]}" ip addr add "$HK_NODE_IP/24" dev node0
  "${enter[@]}" ip link set node0 up
  "${enter[@]}" ip route add default dev node0
  "${enter[@]}" sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
}

# One group for the kubelet in each cgroup v1 hierarchy (cpuset groups start empty), or in the v2 tree
make_cgroups() {
  local hierarchy controller file
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p "/sys/fs/cgroup/$HK_NAME"
    for controller in cpu cpuset memory pids io; do
      echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    done
    return
  fi
  for hierarchy in /sys/fs/cgroup/*/; do
    case $hierarchy in */unified/) ;; *) mkdir -p "$hierarchy$HK_NAME";; esac
  done
  for file in cpuset.cpus cpuset.mems; do
    cat "/sys/fs/cgroup/cpuset/$file" > "/sys/fs/cgroup/cpuset/$HK_NAME/$file"
  done
}

# background PIDFILE COMMAND... : starts the command in its own session and records pid and start time
background() {
  local file=$1 pid
  shift
  setsid "$@" < /dev/null &
  pid=$!
  sleep 0.2
  echo "$pid $(stat_start "$pid")" > "$file"
}

# The API server on 127.0.0.1 of the caller's network namespace, through a unix socket
forward_api() {
  local socket=$HK_RUN/api.sock
  background "$HK_RUN/pid-fwd-in" "${enter[@]}" socat "UNIX-LISTEN:$socket,fork,mode=600" "TCP:127.0.0.1:$HK_API_PORT" \
    > "$HK_RUN/logs/fwd-in.log" 2>&1
  background "$HK_RUN/pid-fwd-out" socat "TCP-LISTEN:$HK_API_PORT,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$socket" \
    > "$HK_RUN/logs/fwd-out.log" 2>&1
}

done_or_dead() { [ -e "$HK_RUN/init-done" ] || ! alive; }

start() {
  mkdir -p "$HK_RUN/logs"
  echo "$mode" > "$HK_RUN/mode"
  "$here/mkpki.sh" "$HK_RUN/pki"
  enter=()
  if [ "$mode" = node ]; then
    enter=(nsenter --net="/run/netns/$HK_NAME")
    make_network
    make_cgroups
  fi
  background "$HK_RUN/pid" "${enter[@]}" unshare --mount --pid --fork --kill-child --mount-proc "$here/node-init.sh" "$mode" \
    > "$HK_RUN/logs/init.log" 2>&1
  wait_for "${HK_TIMEOUT:-240}" "instance start (logs: $HK_RUN/logs)" done_or_dead || { tail -n 5 "$HK_RUN"/logs/*.log >&2; exit 1; }
  [ -e "$HK_RUN/init-done" ] || { tail -n 20 "$HK_RUN"/logs/*.log >&2; die "the instance ended while starting"; }
  [ "$mode" != node ] || forward_api
  wait_for 30 "API server from here" kubectl --kubeconfig "$HK_KUBECONFIG" get --raw /readyz
}

mode=${1:-control}
case $mode in api|control|node) ;; *) die "usage: up.sh [api|control|node]";; esac
[ "$(id -u)" = 0 ] || die "needs root (namespaces)"
if alive; then
  [ "$(cat "$HK_RUN/mode")" = "$mode" ] || die "already up in mode $(cat "$HK_RUN/mode"): run down.sh first"
else
  check_built
  [ ! -e "$HK_RUN" ] || "$here/down.sh"
  start
fi
echo "$HK_KUBECONFIG"
