//! What fuzzers drive. `tests/fuzz` runs it with libFuzzer, beside the decoder of another project; the test here runs
//! its seeds and changes of them, which needs no other tool.

#![allow(clippy::unwrap_used, reason = "a packet that cannot be written again must fail")]

use crate::{Decoder, Packet, Version, encode};
use bytes::BytesMut;

/// The end that reads: the first byte of the input chooses it.
#[must_use]
pub fn decoder(choice: u8) -> Decoder {
    match choice % 4 {
        0 => Decoder::server(1 << 20),
        1 => Decoder::client(Version::V31, 1 << 20),
        2 => Decoder::client(Version::V311, 1 << 20),
        _ => Decoder::client(Version::V5, 1 << 20),
    }
}

/// Whatever comes is packets or an error, and a packet that is written again is read as the same. Each packet is shown to
/// `other` as it came and as it is written.
pub fn packets(data: &[u8], mut other: impl FnMut(Version, &[u8], &[u8])) {
    let Some((choice, data)) = data.split_first() else { return };
    let mut decoder = decoder(*choice);
    let mut buffer = BytesMut::from(data);
    loop {
        let before = buffer.clone();
        let mut again = decoder.clone();
        let Ok(Some(packet)) = decoder.decode(&mut buffer) else { return };
        let came = &before[..before.len() - buffer.len()];
        let version = match &packet {
            Packet::Connect(connect) => connect.version,
            _ => decoder.version().unwrap(),
        };
        let mut written = BytesMut::new();
        encode(&packet, version, u32::MAX, &mut written).unwrap();
        other(version, came, &written);
        assert_eq!(again.decode(&mut written).unwrap().unwrap(), packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn seeds() -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/seeds/mqtt");
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn seeds_are_whole_packets() {
        for seed in seeds() {
            let mut read = 0;
            packets(&seed, |_, came, _| read += came.len());
            assert_eq!(read + 1, seed.len(), "{seed:x?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        #[test]
        fn changes_of_seeds_are_survived(
            seed in proptest::sample::select(seeds()),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let mut data = seed;
            for (at, byte) in changes {
                let at = at.index(data.len());
                data[at] = byte;
            }
            packets(&data, |_, _, _| {});
        }
    }
}
