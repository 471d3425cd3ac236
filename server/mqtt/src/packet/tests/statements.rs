//! Normative statement → bytes → what the decoder says.

use super::{bytes, decode, server};
use crate::Version::{V5, V31, V311};
use crate::{Decoder, Reason, Version};
use Reason::{
    MalformedPacket as Malformed, ProtocolError as Protocol, TopicAliasInvalid,
    UnsupportedProtocolVersion as Unsupported,
};

type Case = (&'static str, &'static str, Result<(), Reason>);
const OK: Result<(), Reason> = Ok(());

fn run(make: impl Fn() -> Decoder, cases: &[Case]) {
    for (statement, text, expected) in cases {
        let found = decode(&mut make(), text).map(drop).map_err(|error| error.reason);
        assert_eq!(found, *expected, "{statement}: {text}");
    }
}

fn client(version: Version) -> Decoder {
    Decoder::client(version, 1 << 20)
}

const CONNECT: &[Case] = &[
    ("MQTT-3.1.0-1: first", "c0 00", Err(Protocol)),
    ("MQTT-3.1.0-1: first", r#"30 03 0001"a""#, Err(Protocol)),
    ("MQTT-2.1.3-1: flags", r#"11 0d 0004"MQTT" 04 02 003c 0001"a""#, Err(Malformed)),
    ("MQTT-3.1.2-1: name", r#"10 0d 0004"MQTX" 04 02 003c 0001"a""#, Err(Unsupported)),
    ("MQTT-3.1.2-1: name", r#"10 0f 0006"MQIsdp" 04 02 003c 0001"a""#, Err(Unsupported)),
    ("MQTT-3.1.2-2: version", r#"10 0d 0004"MQTT" 06 02 003c 0001"a""#, Err(Unsupported)),
    ("MQTT-3.1.2-2: version", r#"10 0d 0004"MQTT" 03 02 003c 0001"a""#, Err(Unsupported)),
    ("MQTT-3.1.2-3: reserved", r#"10 0d 0004"MQTT" 04 03 003c 0001"a""#, Err(Malformed)),
    ("MQTT-3.1.2-3: reserved", r#"10 0e 0004"MQTT" 05 03 003c 00 0001"a""#, Err(Malformed)),
    ("3.1: ignored", r#"10 0f 0006"MQIsdp" 03 03 003c 0001"a""#, OK),
    ("MQTT-3.1.2-11: will QoS", r#"10 0d 0004"MQTT" 04 0a 003c 0001"a""#, Err(Malformed)),
    ("MQTT-3.1.2-12: QoS 3", r#"10 12 0004"MQTT" 04 1e 003c 0001"a"0001"t"0000"#, Err(Malformed)),
    ("MQTT-3.1.2-13: will retain", r#"10 0d 0004"MQTT" 04 22 003c 0001"a""#, Err(Malformed)),
    ("MQTT-3.1.2-9: will", r#"10 12 0004"MQTT" 04 06 003c 0001"a"0001"t"0000"#, OK),
    ("MQTT-3.1.2-9: no will", r#"10 0d 0004"MQTT" 04 06 003c 0001"a""#, Err(Malformed)),
    (
        "MQTT-3.1.3-11: will topic",
        r#"10 12 0004"MQTT" 04 06 003c 0001"a"0001 23 0000"#,
        Err(Malformed),
    ),
    (
        "MQTT-3.1.3-11: will topic",
        r#"10 12 0004"MQTT" 04 06 003c 0001"a"0001 ff 0000"#,
        Err(Malformed),
    ),
    ("MQTT-3.1.2-16: user name", r#"10 0d 0004"MQTT" 04 82 003c 0001"a""#, Err(Malformed)),
    ("MQTT-3.1.2-17: user name", r#"10 10 0004"MQTT" 04 82 003c 0001"a"0001"u""#, OK),
    ("MQTT-3.1.2-17: not asked", r#"10 10 0004"MQTT" 04 02 003c 0001"a"0001"u""#, Err(Malformed)),
    ("MQTT-3.1.2-19: password", r#"10 13 0004"MQTT" 04 c2 003c 0001"a"0001"u"0001 00"#, OK),
    ("3.1.1 MQTT-3.1.2-22", r#"10 10 0004"MQTT" 04 42 003c 0001"a"0001"p""#, Err(Malformed)),
    ("§3.1.2.9: v5 allows it", r#"10 11 0004"MQTT" 05 42 003c 00 0001"a"0001"p""#, OK),
    ("MQTT-3.1.3-3: client id", r#"10 0a 0004"MQTT" 04 02 003c"#, Err(Malformed)),
    ("MQTT-3.1.3-4: UTF-8", r#"10 0d 0004"MQTT" 04 02 003c 0001 80"#, Err(Malformed)),
    ("MQTT-3.1.3-6: empty", r#"10 0c 0004"MQTT" 04 02 003c 0000"#, OK),
    ("MQTT-3.1.3-12: user name", r#"10 10 0004"MQTT" 04 82 003c 0001"a"0001 00"#, Err(Malformed)),
    (
        "§3.1.2.11.3: receive maximum 0",
        r#"10 11 0004"MQTT" 05 02 003c 03 210000 0001"a""#,
        Err(Protocol),
    ),
    (
        "§3.1.2.11.4: packet size 0",
        r#"10 13 0004"MQTT" 05 02 003c 05 2700000000 0001"a""#,
        Err(Protocol),
    ),
    ("§3.1.2.11.6: not 0 or 1", r#"10 10 0004"MQTT" 05 02 003c 02 1902 0001"a""#, Err(Protocol)),
    ("§3.1.2.11.7: not 0 or 1", r#"10 10 0004"MQTT" 05 02 003c 02 1702 0001"a""#, Err(Protocol)),
    (
        "§3.1.2.11.2: twice",
        r#"10 18 0004"MQTT" 05 02 003c 0a 1100000001 1100000001 0001"a""#,
        Err(Protocol),
    ),
    (
        "§3.1.2.11.10: data, no method",
        r#"10 11 0004"MQTT" 05 02 003c 03 160000 0001"a""#,
        Err(Protocol),
    ),
    (
        "§2.2.2.2: not in CONNECT",
        r#"10 11 0004"MQTT" 05 02 003c 03 130001 0001"a""#,
        Err(Malformed),
    ),
    ("§2.2.2.2: unknown", r#"10 10 0004"MQTT" 05 02 003c 02 0400 0001"a""#, Err(Malformed)),
    ("§2.2.2.2: cut off", r#"10 11 0004"MQTT" 05 02 003c 03 11000000 01"a""#, Err(Malformed)),
    (
        "§3.1.3.2: will delay twice",
        r#"10 1e 0004"MQTT" 05 06 003c 00 0001"a" 0a 1800000001 1800000001 0001"t"0000"#,
        Err(Protocol),
    ),
    (
        "§3.1.3.2.5: response topic",
        r##"10 19 0004"MQTT" 05 06 003c 00 0001"a" 04 080001"#" 0001"t" 0001"x""##,
        Err(Protocol),
    ),
];

#[test]
fn connect() {
    run(|| Decoder::server(1 << 20), CONNECT);
    run(
        || server(V311),
        &[("MQTT-3.1.0-2: once", r#"10 0d 0004"MQTT" 04 02 003c 0001"a""#, Err(Protocol))],
    );
}

#[test]
fn an_unknown_version_is_answered_in_the_nearest() {
    for (text, version) in [
        (r#"10 0d 0004"MQTT" 06 02 003c 0001"a""#, Some(V5)),
        (r#"10 0d 0004"MQTT" 02 02 003c 0001"a""#, Some(V311)),
        (r#"10 0d 0004"XXXX" 04 02 003c 0001"a""#, None),
    ] {
        let mut decoder = Decoder::server(1000);
        decode(&mut decoder, text).unwrap_err();
        assert_eq!(decoder.version(), version, "{text}");
    }
}

#[test]
fn data_types() {
    run(
        || server(V5),
        &[
            ("MQTT-1.5.4-1: not UTF-8", "30 05 0002 c328 00", Err(Malformed)),
            ("MQTT-1.5.4-1: surrogate", "30 06 0003 eda080 00", Err(Malformed)),
            ("MQTT-1.5.4-1: overlong", "30 05 0002 c0af 00", Err(Malformed)),
            ("MQTT-1.5.4-1: beyond U+10FFFF", "30 07 0004 f4908080 00", Err(Malformed)),
            ("MQTT-1.5.4-2: U+0000", "30 04 0001 00 00", Err(Malformed)),
            ("MQTT-1.5.4-3: U+FEFF stays", "30 06 0003 efbbbf 00", OK),
            ("§1.5.4: control characters", "30 04 0001 0a 00", OK),
            ("§1.5.4: non-characters", "30 06 0003 efbfbf 00", OK),
            ("MQTT-1.5.5-1: shortest form", r#"30 8400 0001"a" 00"#, Err(Malformed)),
            ("MQTT-1.5.5-1: shortest form", r#"30 05 0001"a" 8000"#, Err(Malformed)),
            ("§1.5.5: five bytes", "30 ffffffff01", Err(Malformed)),
            ("MQTT-1.5.7-1: pair", r#"30 0a 0001"a" 06 260001 80 0000"#, Err(Malformed)),
            ("§1.5.7: pair twice", r#"30 12 0001"a" 0e 260001"k"0001"v" 260001"k"0001"w""#, OK),
            ("§2.1.2: type 0", "00 00", Err(Malformed)),
            ("§2.1.2: the server's", "20 02 0000", Err(Protocol)),
            ("§2.1.2: the server's", "90 04 0001 00 00", Err(Protocol)),
            ("§2.1.2: the server's", "b0 04 0001 00 00", Err(Protocol)),
            ("§2.1.2: the server's", "d0 00", Err(Protocol)),
        ],
    );
    run(|| server(V311), &[("3.1.1 §2.2.1: type 15", "f0 00", Err(Malformed))]);
    run(|| client(V5), &[("§2.1.2: the client's", "c0 00", Err(Protocol))]);
}

#[test]
fn publish() {
    run(
        || server(V311),
        &[
            ("MQTT-3.3.1-2: dup of QoS 0", r#"38 03 0001"a""#, Err(Malformed)),
            ("MQTT-3.3.1-4: QoS 3", r#"36 05 0001"a" 0001"#, Err(Malformed)),
            ("MQTT-2.2.1-2: QoS 0 has no id", r#"30 03 0001"a""#, OK),
            ("MQTT-2.2.1-3: id 0", r#"32 05 0001"a" 0000"#, Err(Malformed)),
            ("MQTT-2.2.1-3: no id", r#"32 03 0001"a""#, Err(Malformed)),
            ("MQTT-3.3.2-1: no topic", "30 00", Err(Malformed)),
            ("MQTT-4.7.3-1: empty topic", "30 02 0000", Err(Malformed)),
            ("MQTT-3.3.2-2: wildcard", r##"30 05 0003"a/#""##, Err(Malformed)),
            ("MQTT-3.3.2-2: wildcard", r#"30 05 0003"+/a""#, Err(Malformed)),
            ("§3.3.3: empty payload", r#"34 05 0001"a" 0001"#, OK),
        ],
    );
    run(|| server(V31), &[("3.1: dup of QoS 0", r#"38 03 0001"a""#, OK)]);
    run(
        || server(V5),
        &[
            ("§3.3.2.1: neither topic nor alias", "30 03 0000 00", Err(Protocol)),
            ("§3.3.2.1: alias", "30 06 0000 03 230001", OK),
            ("MQTT-3.3.2-8: alias 0", "30 06 0000 03 230000", Err(TopicAliasInvalid)),
            ("§3.3.2.3.4: alias twice", "30 09 0000 06 230001 230001", Err(Protocol)),
            ("§3.3.2.3.2: format 2", r#"30 06 0001"a" 02 0102"#, Err(Protocol)),
            ("MQTT-3.3.2-13: response topic", r#"30 08 0001"a" 04 080001 ff"#, Err(Malformed)),
            ("MQTT-3.3.2-14: response topic", r##"30 08 0001"a" 04 080001"#""##, Err(Protocol)),
            ("§3.3.2.3.6: correlation twice", r#"30 0a 0001"a" 06 090000 090000"#, Err(Protocol)),
            ("MQTT-3.3.4-6: id from a client", r#"30 06 0001"a" 02 0b01"#, Err(Malformed)),
            ("MQTT-3.3.2-19: content type", r#"30 08 0001"a" 04 030001 ff"#, Err(Malformed)),
            ("MQTT-3.3.2-2: wildcard", r##"30 06 0003"a/#" 00"##, Err(Malformed)),
            ("§3.3.2.3.1: no properties", r#"30 03 0001"a""#, Err(Malformed)),
        ],
    );
    run(
        || client(V5),
        &[
            ("§3.3.2.3.8: several ids", r#"30 08 0001"a" 04 0b01 0b02"#, OK),
            ("§3.3.2.3.8: id 0", r#"30 06 0001"a" 02 0b00"#, Err(Protocol)),
        ],
    );
}

#[test]
fn answers_to_publish() {
    run(
        || server(V5),
        &[
            ("MQTT-2.1.3-1: flags", "41 02 0001", Err(Malformed)),
            ("MQTT-3.6.1-1: flags", "60 02 0001", Err(Malformed)),
            ("MQTT-3.6.1-1: flags", "62 02 0001", OK),
            ("MQTT-2.2.1-3: id 0", "40 02 0000", Err(Malformed)),
            ("§3.4.2.1: short", "40 03 0001 10", OK),
            ("MQTT-3.4.2-1: reason", "40 03 0001 92", Err(Malformed)),
            ("MQTT-3.5.2-1: reason", "50 03 0001 92", Err(Malformed)),
            ("MQTT-3.6.2-1: reason", "62 03 0001 92", OK),
            ("MQTT-3.6.2-1: reason", "62 03 0001 10", Err(Malformed)),
            ("MQTT-3.7.2-1: reason", "70 03 0001 80", Err(Malformed)),
            ("§2.4: unknown reason", "40 03 0001 03", Err(Malformed)),
            ("§3.4.2.2: reason string twice", "40 0a 0001 00 06 1f0000 1f0000", Err(Protocol)),
            ("§3.4.2.2: not in PUBACK", "40 06 0001 00 02 0101", Err(Malformed)),
            ("§3.4.2.2: after the end", "40 05 0001 00 00 00", Err(Malformed)),
        ],
    );
    run(
        || server(V311),
        &[
            ("3.1.1 §3.4: remaining length 2", "40 03 0001 00", Err(Malformed)),
            ("3.1.1 MQTT-3.6.1-1: flags", "60 02 0001", Err(Malformed)),
        ],
    );
    run(|| server(V31), &[("3.1 §3.6: may be a repetition", "6a 02 0001", OK)]);
}

#[test]
fn subscribe_and_unsubscribe() {
    run(
        || server(V5),
        &[
            ("MQTT-3.8.1-1: flags", r#"80 07 0001 00 0001"a" 00"#, Err(Malformed)),
            ("MQTT-2.2.1-3: id 0", r#"82 07 0000 00 0001"a" 00"#, Err(Malformed)),
            ("MQTT-3.8.3-1: UTF-8", "82 07 0001 00 0001 ff 00", Err(Malformed)),
            ("MQTT-3.8.3-2: none", "82 03 0001 00", Err(Protocol)),
            (
                "MQTT-3.8.3-4: no local, shared",
                r#"82 10 0001 00 000a"$share/g/a" 04"#,
                Err(Protocol),
            ),
            ("MQTT-3.8.3-5: reserved", r#"82 07 0001 00 0001"a" 40"#, Err(Malformed)),
            ("§3.8.3.1: retain handling 3", r#"82 07 0001 00 0001"a" 30"#, Err(Protocol)),
            ("§3.8.3.1: QoS 3", r#"82 07 0001 00 0001"a" 03"#, Err(Malformed)),
            ("§3.8.3.1: all options", r#"82 07 0001 00 0001"a" 2e"#, OK),
            ("§3.8.2.1.2: id 0", r#"82 09 0001 02 0b00 0001"a" 00"#, Err(Protocol)),
            ("§3.8.2.1.2: two ids", r#"82 0b 0001 04 0b01 0b01 0001"a" 00"#, Err(Protocol)),
            ("MQTT-4.7.1-1: #", r##"82 09 0001 00 0003"#/a" 00"##, Err(Malformed)),
            ("MQTT-4.7.1-2: +", r#"82 08 0001 00 0002"a+" 00"#, Err(Malformed)),
            ("MQTT-4.7.3-1: empty", "82 06 0001 00 0000 00", Err(Malformed)),
            ("MQTT-4.8.2-1: share", r#"82 0d 0001 00 0007"$share/" 00"#, Err(Malformed)),
            ("MQTT-4.8.2-2: share", r#"82 0e 0001 00 0008"$share/g" 00"#, Err(Malformed)),
            ("MQTT-3.10.1-1: flags", r#"a0 06 0001 00 0001"a""#, Err(Malformed)),
            ("MQTT-3.10.3-1: UTF-8", "a2 06 0001 00 0001 ff", Err(Malformed)),
            ("MQTT-3.10.3-2: none", "a2 03 0001 00", Err(Protocol)),
            ("§3.10: whole", r#"a2 06 0001 00 0001"a""#, OK),
        ],
    );
    run(
        || server(V311),
        &[
            ("3.1.1 MQTT-3.8.3-3: none", "82 02 0001", Err(Protocol)),
            ("3.1.1 MQTT-3.8.3-4: reserved", r#"82 06 0001 0001"a" 04"#, Err(Malformed)),
            ("3.1.1 §3.8: whole", r#"82 06 0001 0001"a" 02"#, OK),
            ("3.1.1 MQTT-3.10.3-2: none", "a2 02 0001", Err(Protocol)),
        ],
    );
    run(|| server(V31), &[("3.1 §3.8: a repetition", r#"8a 06 0001 0001"a" fe"#, OK)]);
}

#[test]
fn what_a_server_answers() {
    run(
        || client(V5),
        &[
            ("MQTT-3.2.2-1: reserved flags", "20 03 02 00 00", Err(Malformed)),
            ("MQTT-3.2.2-6: session with refusal", "20 03 01 87 00", Err(Protocol)),
            ("MQTT-3.2.2-8: reason", "20 03 00 04 00", Err(Malformed)),
            ("§3.2.2.3.4: maximum QoS 2", "20 05 00 00 02 2402", Err(Protocol)),
            ("§3.2.2.3.5: retain available 2", "20 05 00 00 02 2502", Err(Protocol)),
            ("§3.2.2.3: properties are a must", "20 02 00 00", Err(Malformed)),
            ("MQTT-3.9.3-2: reason", "90 04 0001 00 04", Err(Malformed)),
            ("MQTT-3.11.3-2: reason", "b0 04 0001 00 11", OK),
            ("MQTT-3.11.3-2: reason", "b0 04 0001 00 01", Err(Malformed)),
        ],
    );
    run(
        || client(V311),
        &[
            ("3.1.1 §3.2.2.3: return code", "20 02 00 06", Err(Malformed)),
            ("3.1.1 §3.2.2.3: return code", "20 02 00 05", OK),
            ("3.1.1 MQTT-3.2.2-4", "20 02 01 05", Err(Protocol)),
            ("3.1.1 MQTT-3.9.3-2: return code", "90 03 0001 03", Err(Malformed)),
            ("3.1.1 MQTT-3.9.3-2: return code", "90 03 0001 87", Err(Malformed)),
            ("3.1.1 §3.11: nothing more", "b0 03 0001 00", Err(Malformed)),
            ("3.1.1 §3.14: the client's", "e0 00", Err(Protocol)),
        ],
    );
}

#[test]
fn endings() {
    run(
        || server(V5),
        &[
            ("MQTT-3.14.1-1: flags", "e1 00", Err(Malformed)),
            ("§3.14.2.1: may be left out", "e0 00", OK),
            ("MQTT-3.14.2-1: reason", "e0 01 04", OK),
            ("MQTT-3.14.2-1: the server's", "e0 01 8b", Err(Malformed)),
            ("§3.14.2.2.2: session expiry", "e0 07 00 05 1100000001", OK),
            ("§3.14.2.2.5: the server's", "e0 05 00 03 1c0000", Err(Malformed)),
            ("MQTT-3.12.1: length", "c0 01 00", Err(Malformed)),
            ("MQTT-3.15.1-1: flags", "f1 06 18 04 150001 61", Err(Malformed)),
            ("MQTT-3.15.2-1: reason", r#"f0 06 00 04 150001"m""#, OK),
            ("MQTT-3.15.2-1: reason", r#"f0 06 01 04 150001"m""#, Err(Malformed)),
            ("§3.15.2.2.2: no method", "f0 00", Err(Protocol)),
        ],
    );
    run(
        || client(V5),
        &[
            ("MQTT-3.14.2-2: session expiry", "e0 07 00 05 1100000001", Err(Malformed)),
            ("§3.14.2.1: shutting down", "e0 01 8b", OK),
            ("§3.14.2.1: the client's", "e0 01 04", Err(Malformed)),
        ],
    );
    run(|| server(V311), &[("3.1.1 MQTT-3.14.1-1: content", "e0 01 00", Err(Malformed))]);
}

#[test]
fn the_password_is_not_shown() {
    let text = r#"10 18 0004"MQTT" 04 c2 003c 0001"a"0001"u"0006"secret""#;
    let packet = Decoder::server(100).decode(&mut bytes(text)).unwrap().unwrap();
    assert!(!format!("{packet:?}").contains("secret"));
}
