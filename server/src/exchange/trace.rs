//! The place of a request in a distributed trace (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt::Write;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// A longer state need not be passed on (§3.3.1.5).
const STATE_BYTES_MAX: usize = 512;

/// A trace, and the span of it that is this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// The trace; not 0.
    pub trace_id: [u8; 16],
    /// This request; not 0.
    pub span_id: [u8; 8],
    /// Who made it; none when the trace begins here.
    pub parent_id: Option<[u8; 8]>,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
    /// What other systems have to say of it, passed on as it is.
    pub state: String,
}

impl TraceContext {
    /// The trace that the headers name, with a span of its own. None when they name none, or not as they should:
    /// then the trace begins anew (§3.2).
    #[must_use]
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
        let (trace_id, parent_id, is_sampled) = parse(parent.as_bytes())?;
        let state = state(headers);
        Some(Self { trace_id, span_id: random()?, parent_id: Some(parent_id), is_sampled, state })
    }

    /// A new trace, recorded with a probability of `ratio`. None when the system has no random numbers to give.
    #[must_use]
    pub(crate) fn begin(ratio: f64) -> Option<Self> {
        let trace_id: [u8; 16] = random()?;
        // as OpenTelemetry's ratio sampler: the last 56 bits are random, whoever has made the id
        let [.., a, b, c, d, e, f, g] = trace_id;
        let chance = u64::from_be_bytes([0, a, b, c, d, e, f, g]) as f64 / (1_u64 << 56) as f64;
        let (span_id, is_sampled) = (random()?, chance < ratio);
        Some(Self { trace_id, span_id, parent_id: None, is_sampled, state: String::new() })
    }
}

/// `version-trace id-parent id-flags`, all in lower-case hexadecimal (§3.2.2); later versions may append to it.
fn parse(text: &[u8]) -> Option<([u8; 16], [u8; 8], bool)> {
    let [version] = hex::<1>(text.get(..2)?)?;
    let is_ended = match version {
        0 => text.len() == 55,
        0xff => false,
        _ => text.len() == 55 || text.get(55) == Some(&b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|at| text.get(*at) == Some(&b'-'));
    if !is_ended || !dashes {
        return None;
    }
    let trace_id = hex::<16>(&text[3..35]).filter(|id| *id != [0; 16])?;
    let parent_id = hex::<8>(&text[36..52]).filter(|id| *id != [0; 8])?;
    let [flags] = hex::<1>(&text[53..55])?;
    Some((trace_id, parent_id, flags & 1 == 1))
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // writing to a string cannot fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The lines of `tracestate` as one list.
fn state(headers: &HeaderMap) -> String {
    let lines = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    let lines: Vec<_> = lines.filter_map(Result::ok).collect();
    Some(lines.join(",")).filter(|state| state.len() <= STATE_BYTES_MAX).unwrap_or_default()
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok()?;
    // 0 means none
    bytes[0] |= u8::from(bytes == [0; N]);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn of(parent: &str, state: &[&'static str]) -> Option<TraceContext> {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(parent).unwrap());
        for line in state {
            headers.append(TRACESTATE, HeaderValue::from_static(line));
        }
        TraceContext::of_headers(&headers)
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_its_own() {
        let context = of(&format!("00-{ID}-b7ad6b7169203331-01"), &["a=1", "b=2"]).unwrap();
        assert_eq!(to_hex(&context.trace_id), ID);
        assert_eq!(to_hex(&context.parent_id.unwrap()), "b7ad6b7169203331");
        assert!(context.is_sampled && Some(context.span_id) != context.parent_id);
        assert_eq!(context.state, "a=1,b=2");
        assert!(!of(&format!("00-{ID}-b7ad6b7169203331-02"), &[]).unwrap().is_sampled);
        assert!(of(&format!("cc-{ID}-b7ad6b7169203331-01-what.is.new"), &[]).is_some());
    }

    #[test]
    fn what_is_malformed_names_no_trace() {
        let span = "b7ad6b7169203331";
        for bad in [
            String::new(),
            format!("00-{ID}-{span}"),
            format!("00-{ID}-{span}-1"),
            format!("00-{ID}-{span}-01-more"),
            format!("ff-{ID}-{span}-01"),
            format!("cc-{ID}-{span}-01.more"),
            format!("00-{}-{span}-01", ID.to_uppercase()),
            format!("00-{}-{span}-01", "0".repeat(32)),
            format!("00-{ID}-{}-01", "0".repeat(16)),
            format!("00_{ID}-{span}-01"),
            format!("0x-{ID}-{span}-01"),
        ] {
            assert_eq!(of(&bad, &[]), None, "{bad}");
        }
        let twice = format!("00-{ID}-{span}-01");
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(TRACEPARENT, HeaderValue::from_str(&twice).unwrap());
        }
        assert_eq!(TraceContext::of_headers(&headers), None);
    }

    #[test]
    fn new_traces_are_recorded_as_often_as_asked() {
        let recorded = |ratio: f64| {
            (0..2000).filter(|_| TraceContext::begin(ratio).unwrap().is_sampled).count()
        };
        assert_eq!((recorded(0.0), recorded(1.0)), (0, 2000));
        assert!((800..1200).contains(&recorded(0.5)));
    }
}
