//! What is counted of MQTT. Deliveries and their latency are counted with those of all protocols.

use super::{Count, Level, Metrics, counter, counter_metric, family, gauge};
use harper_mqtt::Qos;
use prometheus::proto::{MetricFamily, MetricType};

const QOS: [&str; 3] = ["0", "1", "2"];

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct MqttMetrics {
    /// Clients that are connected.
    pub connected: Level,
    /// Refused CONNECTs.
    pub refused: Count,
    /// Connections that the server ended.
    pub disconnected: Count,
    /// Messages of clients that were not carried out.
    pub publications_refused: Count,
    /// Messages that a client does not take for their size, or that have expired.
    pub left_out: Count,
    /// Wills published.
    pub wills: Count,
    received: [Count; QOS.len()],
    sent: [Count; QOS.len()],
}

impl MqttMetrics {
    /// Counts a message from a client.
    pub(crate) fn received(&self, qos: Qos) {
        self.received[usize::from(qos.bits())].add(1);
    }

    /// Counts a message to a client, repetitions too.
    pub(crate) fn sent(&self, qos: Qos) {
        self.sent[usize::from(qos.bits())].add(1);
    }
}

impl Metrics {
    /// MQTT on all workers.
    pub(super) fn mqtt(&self) -> Vec<MetricFamily> {
        let messages = |direction: &'static str, count: fn(&MqttMetrics, usize) -> u64| {
            QOS.iter().enumerate().map(move |(index, qos)| {
                let value = self.sum(|worker| count(&worker.mqtt, index));
                counter_metric(&[("direction", direction), ("qos", qos)], value)
            })
        };
        let received = messages("received", |mqtt, index| mqtt.received[index].get());
        let sent = messages("sent", |mqtt, index| mqtt.sent[index].get());
        let one = |name: &str, help: &str, count: fn(&MqttMetrics) -> &Count| {
            counter(name, help, self.sum(|worker| count(&worker.mqtt).get()))
        };
        let connected = self.level(|worker| worker.mqtt.connected.get());
        vec![
            gauge("harper_mqtt_clients", "Connected clients of MQTT.", connected),
            family(
                "harper_mqtt_messages_total",
                "MQTT messages, by direction and quality of service.",
                MetricType::COUNTER,
                received.chain(sent).collect(),
            ),
            one("harper_mqtt_connects_refused_total", "CONNECTs refused.", |mqtt| &mqtt.refused),
            one(
                "harper_mqtt_disconnects_total",
                "Connections of MQTT that the server ended.",
                |mqtt| &mqtt.disconnected,
            ),
            one(
                "harper_mqtt_publications_refused_total",
                "Messages of clients that were not carried out.",
                |mqtt| &mqtt.publications_refused,
            ),
            one(
                "harper_mqtt_messages_left_out_total",
                "Messages that were not sent to a client: they had expired, or it takes none so large.",
                |mqtt| &mqtt.left_out,
            ),
            one("harper_mqtt_wills_total", "Wills published.", |mqtt| &mqtt.wills),
        ]
    }
}
