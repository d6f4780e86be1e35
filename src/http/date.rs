//! Dates as HTTP writes them (RFC 9110 §5.6.7). Without the feature `dates` none is read and none is sent.

use std::time::SystemTime;

/// The date of a text in any of the three forms.
#[cfg(feature = "dates")]
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text).ok()
}

/// The form in which dates are sent.
#[cfg(feature = "dates")]
pub(super) fn shown(at: SystemTime) -> Option<String> {
    Some(httpdate::fmt_http_date(at))
}

#[cfg(not(feature = "dates"))]
pub(super) fn parse(_: &str) -> Option<SystemTime> {
    None
}

#[cfg(not(feature = "dates"))]
pub(super) fn shown(_: SystemTime) -> Option<String> {
    None
}

/// The nearest time that a date of HTTP can say: from 1970 to 9999, in whole seconds.
#[cfg(feature = "dates")]
pub(super) fn in_range(at: SystemTime) -> SystemTime {
    // 9999-12-31T23:59:59Z
    const LAST: u64 = 253_402_300_799;
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(whole_seconds(at).min(LAST))
}

#[cfg(feature = "dates")]
pub(super) fn whole_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
