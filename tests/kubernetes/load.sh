#!/bin/bash
# load.sh ARCHIVE... : imports OCI or Docker image archives into the running node (up.sh node)
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "$0")/common.sh"
for archive in "$@"; do
  node_ctr images import "$archive" 2>&1 | { grep -v DEPRECATION || true; }
done
