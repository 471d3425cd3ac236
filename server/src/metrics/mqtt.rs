//! What is counted of MQTT. Deliveries and their latency are counted with those of all protocols.

use super::{
    Count, Level, Metrics, Protocol, WorkerMetrics, counter, counter_metric, family, gauge,
};
use harper_mqtt::Qos;
use prometheus::proto::{MetricFamily, MetricType};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const QOS: [&str; 3] = ["0", "1", "2"];
const DIRECTIONS: [&str; 2] = ["received", "sent"];

/// Why a message was not sent to a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LeftOut {
    /// It had expired (MQTT-3.3.2-5).
    Expired,
    /// The client takes no packet of its size (MQTT-3.1.2-24).
    Size,
    /// It cannot be made anew, for the change log has forgotten it.
    Forgotten,
    /// Other words about the broker still wait to be taken.
    Waiting,
}

const LEFT_OUT: [&str; 4] = ["expired", "size", "forgotten", "waiting"];

/// When a session was taken over or gone on with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resumed {
    /// When the client asked.
    AtOnce,
    /// When it was its turn.
    Later,
    /// Not: the client is to come again.
    Refused,
}

const RESUMED: [&str; 3] = ["at_once", "later", "refused"];

/// The counters of one worker.
#[derive(Default)]
pub(crate) struct MqttMetrics {
    /// Clients that are connected.
    pub connected: Level,
    /// Those among them whose session is stored.
    pub connected_stored: Level,
    /// Refused CONNECTs.
    pub refused: Count,
    /// Connections that the server ended.
    pub disconnected: Count,
    /// Messages of clients that were not carried out.
    pub publications_refused: Count,
    /// Wills published.
    pub wills: Count,
    /// What came from clients.
    pub received: Traffic,
    /// What went to them.
    pub sent: Traffic,
    left_out: [Count; LEFT_OUT.len()],
    resumed: [Count; RESUMED.len()],
    inflight_peak: AtomicU64,
}

/// What went one way.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Bytes of all packets, without TLS and WebSocket.
    pub bytes: Count,
    /// Packets of any type.
    pub packets: Count,
    /// Bytes of the payloads of messages.
    payload_bytes: Count,
    messages: [Count; QOS.len()],
}

impl Traffic {
    /// Counts a message, repetitions too; its packet is counted by itself.
    pub(crate) fn message(&self, qos: Qos, payload_bytes: usize) {
        self.messages[usize::from(qos.bits())].add(1);
        self.payload_bytes.add(payload_bytes as u64);
    }
}

impl MqttMetrics {
    /// Counts a message that a client is not sent.
    pub(crate) fn left_out(&self, reason: LeftOut) {
        self.left_out[reason as usize].add(1);
    }

    /// Counts a session that is there already.
    pub(crate) fn resumed(&self, when: Resumed) {
        self.resumed[when as usize].add(1);
    }

    /// Notes how many messages one client has not answered.
    pub(crate) fn unanswered(&self, count: usize) {
        let count = count as u64;
        if count > self.inflight_peak.load(Relaxed) {
            self.inflight_peak.store(count, Relaxed);
        }
    }

    fn traffic(&self) -> [&Traffic; DIRECTIONS.len()] {
        [&self.received, &self.sent]
    }
}

/// What all workers have counted, for who asks the broker itself; pairs are what was received and what was sent.
pub(crate) struct MqttTotals {
    /// Clients that are connected.
    pub connected: u64,
    /// Those among them whose session is stored.
    pub connected_stored: u64,
    /// Bytes of all packets.
    pub bytes: [u64; DIRECTIONS.len()],
    /// Packets of any type.
    pub packets: [u64; DIRECTIONS.len()],
    /// Messages.
    pub messages: [u64; DIRECTIONS.len()],
    /// Bytes of their payloads.
    pub payload_bytes: [u64; DIRECTIONS.len()],
    /// Messages that a client was not sent.
    pub left_out: u64,
    /// Open subscriptions to tables.
    pub subscriptions: u64,
}

impl Metrics {
    /// MQTT on all workers.
    pub(super) fn mqtt(&self) -> Vec<MetricFamily> {
        let one = |name: &str, help: &str, count: fn(&MqttMetrics) -> &Count| {
            counter(name, help, self.sum(|worker| count(&worker.mqtt).get()))
        };
        let connected = self.level(|worker| worker.mqtt.connected.get());
        let workers = self.workers();
        let peak = workers.iter().map(|worker| worker.mqtt.inflight_peak.load(Relaxed));
        vec![
            gauge("harper_mqtt_clients", "Connected clients of MQTT.", connected),
            gauge(
                "harper_mqtt_unanswered_peak",
                "Most messages above QoS 0 that one client ever had not answered.",
                peak.max().unwrap_or(0) as f64,
            ),
            self.mqtt_messages(),
            self.mqtt_traffic("harper_mqtt_packets_total", "MQTT packets, by direction.", |one| {
                &one.packets
            }),
            self.mqtt_traffic(
                "harper_mqtt_bytes_total",
                "Bytes of MQTT packets, by direction.",
                |one| &one.bytes,
            ),
            self.mqtt_traffic(
                "harper_mqtt_payload_bytes_total",
                "Bytes of the payloads of MQTT messages, by direction.",
                |one| &one.payload_bytes,
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
            self.labelled_counts(
                "harper_mqtt_messages_left_out_total",
                "Messages that were not sent to a client, by reason.",
                "reason",
                &LEFT_OUT,
                |worker, at| worker.mqtt.left_out[at].get(),
            ),
            self.labelled_counts(
                "harper_mqtt_resumptions_total",
                "Sessions taken over or gone on with; \"later\" and \"refused\" because of mqtt.resumptionsPerSecondMax.",
                "when",
                &RESUMED,
                |worker, at| worker.mqtt.resumed[at].get(),
            ),
            one("harper_mqtt_wills_total", "Wills published.", |mqtt| &mqtt.wills),
        ]
    }

    fn mqtt_messages(&self) -> MetricFamily {
        let of = |way: usize| {
            let direction = DIRECTIONS[way];
            QOS.iter().enumerate().map(move |(index, qos)| {
                let value = self.sum(|worker| worker.mqtt.traffic()[way].messages[index].get());
                counter_metric(&[("direction", direction), ("qos", qos)], value)
            })
        };
        family(
            "harper_mqtt_messages_total",
            "MQTT messages, by direction and quality of service.",
            MetricType::COUNTER,
            of(0).chain(of(1)).collect(),
        )
    }

    fn mqtt_traffic(&self, name: &str, help: &str, of: fn(&Traffic) -> &Count) -> MetricFamily {
        self.labelled_counts(name, help, "direction", &DIRECTIONS, |worker, way| {
            of(worker.mqtt.traffic()[way]).get()
        })
    }

    /// What `$SYS` tells.
    pub(crate) fn mqtt_totals(&self) -> MqttTotals {
        let workers = self.workers();
        let sum = |of: &dyn Fn(&WorkerMetrics) -> u64| workers.iter().map(|one| of(one)).sum();
        let level = |of: fn(&MqttMetrics) -> &Level| {
            let all: i64 = workers.iter().map(|one| of(&one.mqtt).get()).sum();
            u64::try_from(all).unwrap_or(0)
        };
        let both =
            |of: fn(&Traffic) -> u64| [0, 1].map(|way| sum(&|one| of(one.mqtt.traffic()[way])));
        MqttTotals {
            connected: level(|mqtt| &mqtt.connected),
            connected_stored: level(|mqtt| &mqtt.connected_stored),
            bytes: both(|one| one.bytes.get()),
            packets: both(|one| one.packets.get()),
            messages: both(|one| one.messages.iter().map(Count::get).sum()),
            payload_bytes: both(|one| one.payload_bytes.get()),
            left_out: sum(&|one| one.mqtt.left_out.iter().map(Count::get).sum()),
            subscriptions: sum(&|one| one.realtime.subscriptions_of(Protocol::Mqtt)),
        }
    }
}
