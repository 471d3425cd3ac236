#!/bin/bash
# Sourced by the scripts of this folder: settings (each can be set in the environment) and helpers.
# HK stands for "Harper's Kubernetes".
: "${HK_DIR:=${HARPER_TEST_CACHE:-$HOME/.cache/harper-tests}/kube}"   # bin/, stamps/, images/, run-NAME/
: "${HK_BIN:=$HK_DIR/bin}"
: "${HK_NAME:=hk}"                           # instance: names its network namespace, cgroup and state
: "${HK_RUN:=$HK_DIR/run-$HK_NAME}"          # state of the running instance
: "${HK_API_PORT:=16443}"                    # secure API port, on 127.0.0.1 of the caller
: "${HK_ETCD_PORT:=12379}"                   # and the next one; modes api and control only listen on them here
: "${HK_NODE_IP:=10.250.0.1}"                # exists only inside the instance's own network namespace
: "${HK_POD_CIDR:=10.244.0.0/24}"
: "${HK_POD_GW:=10.244.0.1}"
: "${HK_SVC_CIDR:=10.96.0.0/16}"
: "${HK_API_SVC_IP:=10.96.0.1}"
: "${HK_DNS_IP:=10.96.0.10}"
: "${HK_PROXY_MODE:=nftables}"               # kube-proxy: nftables or iptables
HK_KUBECONFIG=$HK_RUN/pki/admin.kubeconfig
export HK_DIR HK_BIN HK_NAME HK_RUN HK_API_PORT HK_ETCD_PORT HK_NODE_IP HK_POD_CIDR HK_POD_GW HK_SVC_CIDR HK_API_SVC_IP \
  HK_DNS_IP HK_PROXY_MODE HK_KUBECONFIG
# the machine's own kubectl first, then the one that build.sh made
case :$PATH: in *":$HK_BIN:"*) ;; *) PATH=$PATH:$HK_BIN;; esac

die() { echo "error: $*" >&2; exit 1; }

log() { echo "[$(date +%H:%M:%S)] $*" >&2; }

# wait_for SECONDS WHAT COMMAND... : polls every 0.1 s
wait_for() {
  local limit=$1 what=$2 t0=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $((SECONDS - t0)) -lt "$limit" ] || { echo "timed out after ${limit}s: $what" >&2; return 1; }
    sleep 0.1
  done
}

# debs PACKAGE... : installs the Debian packages that are missing
debs() {
  local missing=() p
  for p in "$@"; do dpkg -s "$p" >/dev/null 2>&1 || missing+=("$p"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  log "apt-get install ${missing[*]}"
  mkdir -p "$HK_DIR"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
    > "$HK_DIR/apt.log" 2>&1 || { tail -n 20 "$HK_DIR/apt.log" >&2; die "apt-get install ${missing[*]}"; }
}

# need PROGRAM PACKAGE : installs PACKAGE unless PROGRAM is on the PATH
need() { command -v "$1" >/dev/null || debs "$2"; }

# node_ctr ARGUMENT... : containerd's client on the running node
node_ctr() { ctr -a "$HK_RUN/containerd.sock" -n k8s.io "$@"; }

# stat_start PID : the process's start time, or nothing when it has ended (a zombie has ended too)
stat_start() {
  local line fields
  line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  read -ra fields <<< "${line##*) }"
  [ "${fields[0]}" = Z ] || echo "${fields[19]}"
}
