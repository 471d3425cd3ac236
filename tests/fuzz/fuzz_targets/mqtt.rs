#![no_main]
use bytes::BytesMut;
use harper_mqtt::Version;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder;

/// What the other decoder reads, if it takes the packet. MQTT 3.1 is nothing else than 3.1.1 to it.
fn theirs(version: Version, packet: &[u8]) -> Option<String> {
    let mut buffer = BytesMut::from(packet);
    if version == Version::V31 {
        return None;
    }
    if version.is_v5() {
        v5::Codec::new(0, 0).decode(&mut buffer).ok()?.map(|(packet, _)| format!("{packet:?}"))
    } else {
        v3::Codec::new(0).decode(&mut buffer).ok()?.map(|(packet, _)| format!("{packet:?}"))
    }
}

// where both take a packet, it says the same to the other decoder after ours has written it again
libfuzzer_sys::fuzz_target!(|data: &[u8]| harper_mqtt::fuzz::packets(data, |version, came, written| {
    if let (Some(came), Some(written)) = (theirs(version, came), theirs(version, written)) {
        assert_eq!(came, written);
    }
}));
