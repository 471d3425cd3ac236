#!/bin/bash
# chart.sh : tests of charts/harper-operator that need no cluster: helm lint, golden renders of the value sets in golden/
# (UPDATE_GOLDEN=1 writes them), the CRD's template, and values that the schema must refuse.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=common.sh
. "$here/common.sh"
chart=$(cd "$here/../../charts/harper-operator" && pwd)
"$here/build.sh" helm
failures=0

# tell NAME COMMAND... : prints ok or FAILED, with the output of a command that failed
tell() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then echo "ok      $name"; return; fi
  echo "FAILED  $name"
  printf '%s\n' "$output" | head -n 60
  failures=$((failures + 1))
}

# The version is fixed so that the golden files do not change with helm
render() { "$HK_BIN/helm" template harper "$chart" --namespace harper-system --kube-version 1.33.0 "$@"; }

# without_crd : drops the CRD's document from a render; it has its own test and would fill the golden files
without_crd() {
  awk '/^---$/ { if (!skip) printf "%s", document; document = ""; skip = 0 }
       /^# Source: .*\/crd\.yaml$/ { skip = 1 }
       { document = document $0 "\n" }
       END { if (!skip) printf "%s", document }'
}

# golden NAME : golden/NAME.values.yaml renders to golden/NAME.yaml
golden() {
  local file=$here/golden/$1.yaml
  if [ "${UPDATE_GOLDEN:-0}" = 1 ]; then
    render --values "$here/golden/$1.values.yaml" | without_crd > "$file"
  else
    render --values "$here/golden/$1.values.yaml" | without_crd | diff -u "$file" -
  fi
}

# What the template adds to files/crd.yaml is kept on uninstall, and nothing else changes
crd_is_kept() {
  local crd changed
  crd=$(render --show-only templates/crd.yaml) || return 1
  grep -q 'helm.sh/resource-policy: keep' <<< "$crd" || { echo "no resource policy"; return 1; }
  changed=$(diff "$chart/files/crd.yaml" <(printf '%s\n' "$crd") | grep '^<' || true)
  [ -z "$changed" ] || { echo "$changed"; return 1; }
  if render --set crds.enabled=false | grep 'kind: CustomResourceDefinition'; then return 1; fi
}

# refuses SENTENCE ARGUMENT... : the render fails with the sentence
refuses() {
  local sentence=$1 output
  shift
  if output=$(render "$@" 2>&1); then echo "was accepted"; return 1; fi
  grep -F "$sentence" <<< "$output" || { echo "$output"; return 1; }
}

tell "helm lint" "$HK_BIN/helm" lint --strict --quiet "$chart"
for values in "$here"/golden/*.values.yaml; do
  name=$(basename "$values" .values.yaml)
  tell "helm lint, values $name" "$HK_BIN/helm" lint --strict --quiet --values "$values" "$chart"
  tell "golden render $name" golden "$name"
done
tell "the CRD is kept on uninstall and can be left out" crd_is_kept
tell "refused: an unknown key" refuses "additional properties 'replicas' not allowed" --set replicas=2
tell "refused: a misspelt nested key" refuses "additional properties 'repo' not allowed" --set image.repo=x
tell "refused: an unknown scope" refuses "at '/rbac/scope'" --set rbac.scope=all
tell "refused: scope namespaces without namespaces" refuses "at '/rbac/namespaces'" --set rbac.scope=namespaces
tell "refused: a malformed digest" refuses "at '/image/digest'" --set image.digest=sha256:12
tell "refused: Kubernetes 1.32" refuses "incompatible with Kubernetes" --kube-version 1.32.0
[ "$failures" = 0 ] || die "$failures chart tests failed"
