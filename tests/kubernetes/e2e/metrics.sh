#!/bin/bash
# Sourced by e2e.sh: a real Prometheus scrapes the pods that their annotations name. Debian builds it without the discovery
# of Kubernetes, so the targets are read here, by the same annotations.
# shellcheck disable=SC2154  # the settings are lib.sh's

# targets : Prometheus' list of running pods with prometheus.io/scrape
targets() {
  kc get pods --all-namespaces --field-selector status.phase=Running -o json | jq '[
    .items[] | .metadata.annotations as $annotation | select($annotation["prometheus.io/scrape"] == "true") | {
      targets: [.status.podIP + ":" + $annotation["prometheus.io/port"]],
      labels: {
        namespace: .metadata.namespace,
        pod: .metadata.name,
        __metrics_path__: ($annotation["prometheus.io/path"] // "/metrics")
      }
    }]'
}

prometheus_config() {
  cat <<Y
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: pods
    file_sd_configs: [{files: ["$work/targets.json"]}]
Y
}

# query PROMQL : the value of the only sample of the answer, or nothing
query() {
  inside curl --silent --fail --max-time 5 --get "http://127.0.0.1:$prometheus_port/api/v1/query" --data-urlencode "query=$1" |
    jq -r '.data.result | if length == 1 then .[0].value[1] else "" end'
}

# holds PROMQL : the expression gives a sample
holds() { [ -n "$(query "$1")" ]; }

prometheus_started() {
  targets > "$work/targets.json"
  prometheus_config > "$work/prometheus.yml"
  promtool check config "$work/prometheus.yml"
  nsenter --net="/run/netns/$HK_NAME" prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
    --web.listen-address="127.0.0.1:$prometheus_port" > "$work/prometheus.log" 2>&1 < /dev/null &
  echo $! > "$work/prometheus.pid"
}

# Prometheus lives as long as this step
scraped() {
  prometheus_started
  trap 'kill "$(cat "$work/prometheus.pid")"; wait' EXIT
  wait_for 20 "Prometheus" inside curl --silent --fail "http://127.0.0.1:$prometheus_port/-/ready"
  wait_for 30 "both targets up" holds "count(up == 1) == 2"
  wait_for 10 "requests counted" holds "sum(harper_http_requests_total{namespace=\"$namespace\"}) > 0"
  wait_for 10 "reconciles counted" holds "sum(harper_operator_reconcile_total{namespace=\"$system\"}) > 0"
  note "harper_http_requests_total $(query 'sum(harper_http_requests_total)')," \
    "harper_operator_reconcile_total $(query 'sum(harper_operator_reconcile_total)')"
}

# metrics_of POD-IP PORT
metrics_of() { inside curl --silent --show-error --fail --max-time 5 "http://$1:$2/metrics"; }

metrics_lint() {
  local operator_ip
  operator_ip=$(kc --namespace "$system" get pods --selector app.kubernetes.io/component=operator -o 'jsonpath={.items[0].status.podIP}')
  metrics_of "$(field "pod/$server-0" .status.podIP)" 9464 > "$work/server.metrics"
  metrics_of "$operator_ip" 8080 > "$work/operator.metrics"
  promtool check metrics < "$work/server.metrics"
  promtool check metrics < "$work/operator.metrics"
  note "server $(grep -vc '^#' "$work/server.metrics") series, operator $(grep -vc '^#' "$work/operator.metrics") series"
}
