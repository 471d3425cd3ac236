#!/bin/bash
# mkgomod.sh VERSION : rewrites this module's go.mod and go.sum for Kubernetes VERSION (such as 1.36.3).
# Kubernetes' own go.mod points at staging folders; here the same modules come from the proxy.
set -euo pipefail
cd "$(dirname "$0")"
version=$1
go_mod=$(GOFLAGS='' go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
{
  printf 'module harper.invalid/hk\n\n'
  grep -E '^(go|godebug) ' "$go_mod"
  printf '\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
  sed -n 's|^[[:space:]]*\(k8s.io/[a-z0-9.-]*\) => ./staging/.*|\1|p' "$go_mod" |
    while read -r module; do printf '\t%s => %s v0.%s\n' "$module" "$module" "${version#1.}"; done
  echo ")"
} > go.mod
go mod tidy
