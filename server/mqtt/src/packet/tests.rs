//! The form of every packet: a case for each normative statement that concerns it, and that packets survive the way
//! there and back.

mod roundtrip;
mod statements;

use crate::{Decoder, Error, Packet, Version};
use bytes::BytesMut;

/// Bytes of text such as `10 0c "MQTT" 04 02 003c`: hexadecimal digits, and strings without a length in quotes.
fn bytes(text: &str) -> BytesMut {
    let mut out = BytesMut::new();
    for (place, part) in text.split('"').enumerate() {
        if place % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u8> = part.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        for pair in digits.chunks(2) {
            let pair = std::str::from_utf8(pair).unwrap();
            out.extend_from_slice(&[u8::from_str_radix(pair, 16).unwrap()]);
        }
    }
    out
}

/// A decoder of a server that has had its CONNECT.
fn server(version: Version) -> Decoder {
    let mut decoder = Decoder::server(1 << 20);
    let connect = match version {
        Version::V31 => r#"10 0f 0006"MQIsdp" 03 02 003c 0001"a""#,
        Version::V311 => r#"10 0d 0004"MQTT" 04 02 003c 0001"a""#,
        Version::V5 => r#"10 0e 0004"MQTT" 05 02 003c 00 0001"a""#,
    };
    decoder.decode(&mut bytes(connect)).unwrap().unwrap();
    assert_eq!(decoder.version(), Some(version));
    decoder
}

/// The one packet that the text is.
fn decode(decoder: &mut Decoder, text: &str) -> Result<Packet, Error> {
    let mut buffer = bytes(text);
    let packet = decoder.decode(&mut buffer)?.expect("the packet is whole");
    assert!(buffer.is_empty(), "bytes are left: {text}");
    Ok(packet)
}

#[test]
fn a_packet_may_come_byte_by_byte() {
    let whole = bytes(r#"30 09 0003"a/b" "hello""#);
    let whole = &whole[..];
    let mut decoder = server(Version::V311);
    let mut buffer = BytesMut::new();
    // the length says 9 and ten bytes follow: take the 9
    for (place, byte) in whole[..11].iter().enumerate() {
        buffer.extend_from_slice(&[*byte]);
        let packet = decoder.decode(&mut buffer).unwrap();
        assert_eq!(packet.is_some(), place == 10, "{place}");
    }
}

#[test]
fn a_packet_that_is_too_large_is_refused_before_it_has_come() {
    let mut decoder = server(Version::V5);
    decoder.set_bytes_max(100);
    let error = decoder.decode(&mut bytes("30 63")).unwrap_err();
    assert_eq!(error.reason, crate::Reason::PacketTooLarge);
    assert_eq!(decoder.decode(&mut bytes("30 62")), Ok(None));
    let mut unknown = Decoder::server(100);
    assert!(unknown.decode(&mut bytes("10 ff ff ff 7f")).is_err());
}

#[test]
fn a_subscriber_s_copy_is_the_packet() {
    use crate::property::{CONTENT_TYPE, MESSAGE_EXPIRY, SUBSCRIPTION_ID, TOPIC_ALIAS, Varint};
    use crate::{Outgoing, Properties, Text, encode_publish, packet::Delivery};
    let topic = Text::try_from("a/b").unwrap();
    let came = Properties::default()
        .with(&CONTENT_TYPE, Text::try_from("x").unwrap())
        .with(&MESSAGE_EXPIRY, 9)
        .with(&TOPIC_ALIAS, 7);
    let same = crate::encode::passed_on(&came);
    let id = crate::PacketId::new(5).unwrap();
    let outgoing = Outgoing {
        version: Version::V5,
        dup: true,
        delivery: Delivery::AtLeastOnce(id),
        retain: true,
        alias: Some((3, false)),
        expiry_s: Some(4),
        subscription_ids: &[1, 300],
        bytes_max: 1000,
    };
    let mut out = BytesMut::new();
    encode_publish(&outgoing, &topic, &same, b"hi", &mut out).unwrap();
    let mut client = Decoder::client(Version::V5, 1000);
    let Some(Packet::Publish(publish)) = client.decode(&mut out.clone()).unwrap() else { panic!() };
    assert!(publish.dup && publish.retain && publish.topic.is_empty());
    assert_eq!(publish.delivery, Delivery::AtLeastOnce(id));
    assert_eq!(publish.payload, &b"hi"[..]);
    let expected = Properties::default()
        .with(&MESSAGE_EXPIRY, 4)
        .with(&TOPIC_ALIAS, 3)
        .with(&SUBSCRIPTION_ID, Varint(1))
        .with(&SUBSCRIPTION_ID, Varint(300))
        .with(&CONTENT_TYPE, Text::try_from("x").unwrap());
    assert_eq!(publish.properties, expected);
    // MQTT-3.1.2-24
    let narrow = Outgoing { bytes_max: u32::try_from(out.len()).unwrap() - 1, ..outgoing };
    let mut nothing = BytesMut::new();
    encode_publish(&narrow, &topic, &same, b"hi", &mut nothing).unwrap_err();
    assert!(nothing.is_empty());
}

#[test]
fn more_properties_than_are_taken_are_refused() {
    let connect = |count: usize| {
        let properties = "2600000000".repeat(count);
        let len = properties.len() / 2;
        let len = format!("{:02x}{:02x}", len & 0x7f | 0x80, len >> 7);
        let body = format!(r#"0004"MQTT" 05 02 003c {len} {properties} 0001"a""#);
        let whole = bytes(&body).len();
        format!("10 {:02x}{:02x} {body}", whole & 0x7f | 0x80, whole >> 7)
    };
    decode(&mut Decoder::server(1 << 20), &connect(1024)).unwrap();
    let refused = decode(&mut Decoder::server(1 << 20), &connect(1025)).unwrap_err();
    assert_eq!(refused.reason, crate::Reason::QuotaExceeded);
}

#[test]
fn explanations_are_left_out_when_they_do_not_fit() {
    use crate::property::{REASON_STRING, USER_PROPERTY};
    use crate::{Properties, Reason, Text, packet::Ack};
    let text = |text: &str| Text::try_from(text).unwrap();
    let properties = Properties::default()
        .with(&REASON_STRING, text("because"))
        .with(&USER_PROPERTY, (text("a"), text("b")));
    let id = crate::PacketId::new(1).unwrap();
    let packet = Packet::Puback(Ack { id, reason: Reason::NotAuthorized, properties });
    let mut out = BytesMut::new();
    crate::encode(&packet, Version::V5, 10, &mut out).unwrap();
    assert_eq!(&out[..], &bytes("40 03 0001 87")[..]);
    crate::encode(&packet, Version::V5, 4, &mut out).unwrap_err();
}
