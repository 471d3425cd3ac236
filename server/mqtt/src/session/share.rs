//! Which member of a shared subscription gets a message (§4.8.2).

/// The member that has the highest weight for this message. Every worker chooses the same; when a member comes or goes,
/// only its own messages change hands.
#[must_use]
pub fn choose(members: impl Iterator<Item = u64>, message: u64) -> Option<u64> {
    members.max_by_key(|member| mixed(member ^ mixed(message)))
}

/// The finalizer of SplitMix64: every bit of the input changes half of the bits.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
