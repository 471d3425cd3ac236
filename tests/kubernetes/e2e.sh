#!/bin/bash
# e2e.sh [--keep] : the whole road on a real one-node cluster: chart, HarperServer, real data, Prometheus, changes, damage.
# Prints a numbered line for each step with its seconds, and last `N passed, M failed`. --keep leaves the cluster running.
# Needs the static release binaries of the server and the operator, Node 20 and root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export HK_NAME=${HK_NAME:-e2e} HK_API_PORT=${HK_API_PORT:-36443}
# shellcheck source=common.sh
. "$here/common.sh"
# shellcheck source=e2e/lib.sh
. "$here/e2e/lib.sh"
# shellcheck source=e2e/install.sh
. "$here/e2e/install.sh"
# shellcheck source=e2e/metrics.sh
. "$here/e2e/metrics.sh"
# shellcheck source=e2e/change.sh
. "$here/e2e/change.sh"
# shellcheck source=e2e/survive.sh
. "$here/e2e/survive.sh"

keep=
case ${1-} in
  '') ;;
  --keep) keep=1;;
  *) die "usage: e2e.sh [--keep]";;
esac
began=$(now)

finish() {
  local status=$?
  set +e
  [ -z "$keep" ] || echo "left running: export KUBECONFIG=$HK_KUBECONFIG HK_NAME=$HK_NAME"
  [ -n "$keep" ] || "$here/down.sh"
  rm -rf "$work"
  echo "total $(seconds_since "$began") s"
  echo "$passed passed, $failed failed"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

prepare() {
  "$here/build.sh" node helm
  need curl curl
  need jq jq
  need prometheus prometheus
  command -v node >/dev/null || die "node (20 or newer) is not on the PATH"
  "$here/down.sh"
}

prepare
step "the cluster is up" cluster_up
step "both images are built and loaded" images_loaded
step "namespaces under the restricted pod security standard, a volume" namespaces_and_volume
step "helm install --wait" chart_installed
step "helm test" chart_tested
step "the example HarperServer is Ready" application_ready
step "the data set is fetched" data_fetched
step "the data is loaded through the Service" data_loaded
step "the example's queries have the answers of the data set" queries_answered
step "requests without the password are refused" strangers_refused
step "Prometheus scrapes the server and the operator" scraped
step "promtool finds no fault with the metrics" metrics_lint
step "mistakes are refused with a sentence" mistakes_refused
step "a configuration that the server would refuse is held back" bad_config_held_back
step "a change that a running server follows is applied in place" live_change_applied
step "a change of the spec is applied, the data is there" change_applied
step "edits of children are healed" edits_healed
step "deleted children are made again, the data is there" deletions_healed
step "at rest nothing is written" nothing_written_at_rest
step "an edit of the admin Secret stays" password_changed
step "the pod is killed: the data is there, the new password works" pod_killed
step "the operator restarts: no write, no pod restarts, healing goes on" operator_restarted
step "helm uninstall leaves the kind, the HarperServer and its pod" chart_uninstalled
step "a second helm install adopts them" chart_adopts
step "deleting the HarperServer takes its children and leaves its volume" server_deleted
