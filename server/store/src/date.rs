//! Times as JSON holds them.

use jiff::Timestamp;
use jiff::civil::Date;

/// The last millisecond of the year 9999, the latest time RFC 3339 can write.
pub(crate) const MS_MAX: u64 = 253_402_300_799_999;

/// Milliseconds since 1970 of an RFC 3339 time, or of a date alone at midnight UTC.
pub(crate) fn parse(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_millisecond());
    }
    if text.len() != "2016-01-01".len() {
        return None;
    }
    let date = text.parse::<Date>().ok()?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_millisecond())
}

/// RFC 3339 with milliseconds, in UTC.
pub(crate) fn text(ms: u64) -> String {
    let ms = i64::try_from(ms.min(MS_MAX)).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => String::from("9999-12-31T23:59:59.999Z"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_is_read_back(ms in 0..=253_402_207_200_000u64) {
            prop_assert_eq!(parse(&text(ms)), Some(ms as i64));
        }
    }

    #[test]
    fn forms() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse("1970-01-02"), Some(86_400_000));
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Some(0));
        for bad in ["yesterday", "2016-13-01", "2016-01-01T10:00:00", "", "12"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
