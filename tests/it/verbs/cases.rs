//! The cases: what is asked of a resource in which state, and what RFC 9110 wants answered.

use ifmatch::http::Terms;

/// The state that a request meets. `{v}` in its headers is the version that stands there, `{old}` one from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Nothing,
    Deleted,
    Stands,
}

use Met::{Deleted, Nothing, Stands};

pub(super) struct Case {
    /// Of RFC 9110, where no other is named.
    pub(super) section: &'static str,
    pub(super) method: &'static str,
    pub(super) met: Met,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) terms: &'static str,
    pub(super) status: u16,
    pub(super) reason: &'static str,
}

type Row = (&'static str, Met, &'static [(&'static str, &'static str)], u16, &'static str);

const IM: &str = "If-Match";
const INM: &str = "If-None-Match";
const IMS: &str = "If-Modified-Since";
const IUS: &str = "If-Unmodified-Since";
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// What reads answer; `HEAD` as `GET`.
const READS: &[Row] = &[
    ("9.3.1", Stands, &[], 200, ""),
    ("15.5.5", Nothing, &[], 404, "not-found"),
    ("15.5.11", Deleted, &[], 410, "deleted"),
    ("13.1.2", Stands, &[(INM, "\"{v}\"")], 304, ""),
    ("13.1.2", Stands, &[(INM, "W/\"{v}\"")], 304, ""),
    ("13.1.2", Stands, &[(INM, "\"{old}\"")], 200, ""),
    ("13.1.2", Stands, &[(INM, "*")], 304, ""),
    ("13.1.2", Stands, &[(INM, "\"{old}\", \"{v}\"")], 304, ""),
    ("13.1.2", Stands, &[(INM, "\"foreign\"")], 200, ""),
    ("5.3", Stands, &[(INM, "\"{old}\""), (INM, "W/\"{v}\"")], 304, ""),
    ("13.1.2", Stands, &[(INM, "\"{v}-gzip\"")], 200, ""),
    ("13.2.1", Nothing, &[(INM, "*")], 404, "not-found"),
    ("13.2.1", Deleted, &[(INM, "\"{old}\"")], 410, "deleted"),
    ("9111 4.3.1", Stands, &[(INM, "{v}")], 200, ""),
    ("9111 4.3.1", Stands, &[(INM, "")], 200, ""),
    ("9111 4.3.1", Stands, &[(INM, "*, \"{v}\"")], 200, ""),
    ("9111 4.3.1", Stands, &[(INM, "{65}")], 200, ""),
    ("13.1.1", Stands, &[(IM, "\"{v}\"")], 200, ""),
    ("13.1.1", Stands, &[(IM, "\"{old}\"")], 412, "stale"),
    ("13.1.1", Stands, &[(IM, "*")], 200, ""),
    ("8.8.3.2", Stands, &[(IM, "W/\"{v}\"")], 412, "altered-tag"),
    ("8.8.3.2", Stands, &[(IM, "\"{v}-gzip\"")], 412, "altered-tag"),
    ("13.1.1", Stands, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"{v}\"")], 200, ""),
    ("13.2.1", Nothing, &[(IM, "\"7\"")], 404, "not-found"),
    ("13.2.1", Deleted, &[(IM, "*")], 410, "deleted"),
    ("13.2.1", Deleted, &[(IM, "\"")], 410, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"{v}")], 200, ""),
    ("13.2.2", Stands, &[(IM, "\"{v}\""), (INM, "\"{v}\"")], 304, ""),
    ("13.2.2", Stands, &[(IM, "\"{old}\""), (INM, "\"{v}\"")], 412, "stale"),
    ("13.2.2", Stands, &[(IM, "\"{v}\""), (INM, "\"{old}\"")], 200, ""),
    ("13.1.3", Stands, &[(IMS, DATE)], 200, ""),
    ("13.1.3", Stands, &[(IMS, DATE), (INM, "\"{v}\"")], 304, ""),
    ("13.1.4", Stands, &[(IUS, DATE)], 200, ""),
    ("13.1.5", Stands, &[("If-Range", "\"{old}\"")], 200, ""),
];

const PUTS: &[Row] = &[
    ("9.3.4", Stands, &[], 200, ""),
    ("9.3.4", Nothing, &[], 201, ""),
    ("9.3.4", Deleted, &[], 201, ""),
    ("13.1.1", Stands, &[(IM, "\"{v}\"")], 200, ""),
    ("13.1.1", Stands, &[(IM, "\"{old}\"")], 412, "stale"),
    ("13.1.1", Nothing, &[(IM, "\"7\"")], 412, "missing"),
    ("13.1.1", Deleted, &[(IM, "\"{old}\"")], 412, "deleted"),
    ("13.1.1", Stands, &[(IM, "*")], 200, ""),
    ("13.1.1", Nothing, &[(IM, "*")], 412, "missing"),
    ("13.1.1", Deleted, &[(IM, "*")], 412, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"{v}\"")], 200, ""),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"7\"")], 412, "stale"),
    ("13.1.1", Nothing, &[(IM, "\"7\", \"8\"")], 412, "missing"),
    ("13.1.1", Deleted, &[(IM, "\"{old}\", \"8\"")], 412, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"foreign\", \"{v}\"")], 200, ""),
    ("5.3", Stands, &[(IM, "\"{old}\""), (IM, "\"{v}\"")], 200, ""),
    ("8.8.3.2", Stands, &[(IM, "W/\"{v}\"")], 412, "altered-tag"),
    ("8.8.3.2", Stands, &[(IM, "W/\"{old}\"")], 412, "altered-tag"),
    ("8.8.3.2", Nothing, &[(IM, "W/\"7\"")], 412, "altered-tag"),
    ("8.8.3.2", Stands, &[(IM, "\"{v}-gzip\"")], 412, "altered-tag"),
    ("8.8.3.2", Stands, &[(IM, "\"{v};gzip\"")], 412, "altered-tag"),
    ("8.8.3.2", Stands, &[(IM, "W/\"{v}\", \"{old}\", \"7\"")], 412, "altered-tag"),
    ("8.8.3.2", Stands, &[(IM, "W/\"{v}\", \"{old}\"")], 412, "stale"),
    ("13.1.1", Stands, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    ("13.1.1", Stands, &[(IM, "\"\"")], 412, "foreign-tag"),
    ("13.1.1", Stands, &[(IM, "\"0{v}\"")], 412, "foreign-tag"),
    ("13.1.1", Nothing, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    ("13.1.2", Stands, &[(INM, "*")], 412, "exists"),
    ("13.1.2", Nothing, &[(INM, "*")], 201, ""),
    ("13.1.2", Deleted, &[(INM, "*")], 201, ""),
    ("13.1.2", Stands, &[(INM, "\"{v}\"")], 412, "stale"),
    ("13.1.2", Stands, &[(INM, "W/\"{v}\"")], 412, "stale"),
    ("13.1.2", Stands, &[(INM, "\"{old}\"")], 200, ""),
    ("13.1.2", Stands, &[(INM, "\"foreign\"")], 200, ""),
    ("13.1.2", Nothing, &[(INM, "\"7\"")], 201, ""),
    ("13.1.2", Deleted, &[(INM, "\"{old}\"")], 201, ""),
    ("13.2.2", Stands, &[(IM, "\"{v}\""), (INM, "\"{old}\"")], 200, ""),
    ("13.2.2", Stands, &[(IM, "\"{v}\""), (INM, "\"{v}\"")], 412, "stale"),
    ("13.2.2", Stands, &[(IM, "\"{old}\""), (INM, "\"7\"")], 412, "stale"),
    ("13.2.2", Stands, &[(IM, "*"), (INM, "*")], 412, "exists"),
    ("13.2.2", Nothing, &[(IM, "*"), (INM, "*")], 412, "missing"),
    ("13.2.2", Stands, &[(IM, "\"{v}\""), (INM, "*")], 412, "exists"),
    ("13.1.1", Stands, &[(IM, "{v}")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "\"{v}")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, ", ,")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "*, \"{v}\"")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "\"{v}\" \"{old}\"")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "*"), (IM, "\"{v}\"")], 400, "malformed-precondition"),
    ("8.8.3", Stands, &[(IM, "w/\"{v}\"")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "{65}")], 400, "malformed-precondition"),
    ("13.1.1", Nothing, &[(IM, "7")], 400, "malformed-precondition"),
    ("13.1.2", Stands, &[(INM, "{v}")], 400, "malformed-precondition"),
    ("13.1.2", Stands, &[(IM, "\"{v}\""), (INM, "")], 400, "malformed-precondition"),
    ("13.1.4", Stands, &[(IUS, DATE)], 428, "expectation-required"),
    ("13.1.4", Stands, &[(IUS, "yesterday")], 428, "expectation-required"),
    ("13.1.4", Stands, &[(IUS, DATE), (IM, "\"{v}\"")], 200, ""),
    ("13.1.4", Nothing, &[(IUS, DATE), (INM, "*")], 201, ""),
    ("13.1.3", Stands, &[(IMS, DATE)], 200, ""),
];

/// To the collection, which is there and has no entity tag.
const POSTS: &[Row] = &[
    ("9.3.3", Nothing, &[], 201, ""),
    ("9.3.3", Deleted, &[], 201, ""),
    ("15.5.10", Stands, &[], 409, "exists"),
    ("15.5.10", Stands, &[(INM, "*")], 409, "exists"),
    ("13.1.2", Nothing, &[(INM, "*")], 201, ""),
    ("13.1.2", Nothing, &[(INM, "\"7\"")], 201, ""),
    ("13.1.1", Nothing, &[(IM, "*")], 201, ""),
    ("13.1.1", Nothing, &[(IM, "\"7\"")], 412, "foreign-tag"),
    ("13.1.1", Stands, &[(IM, "\"{v}\"")], 412, "foreign-tag"),
    ("13.1.1", Nothing, &[(IM, "7")], 400, "malformed-precondition"),
    ("13.1.2", Stands, &[(INM, "")], 400, "malformed-precondition"),
];

/// By the call that tries again, and by the one that does not.
const PATCHES: &[Row] = &[
    ("5789 2", Stands, &[], 200, ""),
    ("5789 2.2", Nothing, &[], 404, "not-found"),
    ("15.5.11", Deleted, &[], 410, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"{v}\"")], 200, ""),
    ("5789 2.2", Stands, &[(IM, "\"{old}\"")], 412, "stale"),
    ("13.1.1", Stands, &[(IM, "*")], 200, ""),
    ("13.2.1", Nothing, &[(IM, "*")], 404, "not-found"),
    ("13.2.1", Deleted, &[(IM, "\"{old}\"")], 410, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"{v}\"")], 200, ""),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"7\"")], 412, "stale"),
    ("8.8.3.2", Stands, &[(IM, "W/\"{v}\"")], 412, "altered-tag"),
    ("13.1.1", Stands, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    ("13.2.1", Nothing, &[(IM, "\"foreign\"")], 404, "not-found"),
    ("13.1.2", Stands, &[(INM, "*")], 412, "exists"),
    ("13.2.1", Nothing, &[(INM, "*")], 404, "not-found"),
    ("13.1.2", Stands, &[(INM, "\"{v}\"")], 412, "stale"),
    ("13.1.2", Stands, &[(INM, "\"{old}\"")], 200, ""),
    ("13.2.2", Stands, &[(IM, "\"{v}\""), (INM, "*")], 412, "exists"),
    ("13.1.1", Stands, &[(IM, "{v}")], 400, "malformed-precondition"),
    ("13.1.1", Stands, &[(IM, "")], 400, "malformed-precondition"),
    ("13.2.1", Nothing, &[(IM, "7")], 404, "not-found"),
    ("13.2.1", Deleted, &[(INM, "")], 410, "deleted"),
    ("13.1.4", Stands, &[(IUS, DATE)], 428, "expectation-required"),
    ("13.2.1", Nothing, &[(IUS, DATE)], 404, "not-found"),
];

const DELETES: &[Row] = &[
    ("9.3.5", Stands, &[], 204, ""),
    ("15.5.5", Nothing, &[], 404, "missing"),
    ("15.5.11", Deleted, &[], 410, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"{v}\"")], 204, ""),
    ("13.1.1", Stands, &[(IM, "\"{old}\"")], 412, "stale"),
    ("13.1.1", Stands, &[(IM, "*")], 204, ""),
    ("13.2.1", Nothing, &[(IM, "\"7\"")], 404, "missing"),
    ("13.2.1", Deleted, &[(IM, "\"{old}\"")], 410, "deleted"),
    ("13.2.1", Nothing, &[(IM, "*")], 404, "missing"),
    ("13.2.1", Deleted, &[(IM, "*")], 410, "deleted"),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"{v}\"")], 204, ""),
    ("13.1.1", Stands, &[(IM, "\"{old}\", \"7\"")], 412, "stale"),
    ("13.2.1", Nothing, &[(IM, "\"7\", \"8\"")], 404, "not-found"),
    ("13.2.1", Deleted, &[(IM, "\"{old}\", \"8\"")], 410, "deleted"),
    ("8.8.3.2", Stands, &[(IM, "W/\"{v}\"")], 412, "altered-tag"),
    ("13.1.1", Stands, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    ("13.2.1", Nothing, &[(IM, "W/\"7\"")], 404, "not-found"),
    ("13.2.1", Deleted, &[(IM, "\"foreign\"")], 410, "deleted"),
    ("13.1.2", Stands, &[(INM, "*")], 412, "exists"),
    ("13.2.1", Nothing, &[(INM, "*")], 404, "not-found"),
    ("13.1.2", Stands, &[(INM, "\"{v}\"")], 412, "stale"),
    ("13.1.2", Stands, &[(INM, "\"{old}\"")], 204, ""),
    ("13.1.1", Stands, &[(IM, "{v}")], 400, "malformed-precondition"),
    ("13.2.1", Nothing, &[(IM, "7")], 404, "not-found"),
    ("13.2.1", Deleted, &[(INM, "")], 410, "deleted"),
    ("13.1.4", Stands, &[(IUS, DATE)], 428, "expectation-required"),
];

/// On other terms, each with its method.
const TERMS: &[(&str, &str, Row)] = &[
    ("required", "PUT", ("6585 3", Stands, &[], 428, "expectation-required")),
    ("required", "PUT", ("6585 3", Nothing, &[], 428, "expectation-required")),
    ("required", "PUT", ("6585 3", Stands, &[(INM, "\"{old}\"")], 428, "expectation-required")),
    ("required", "PUT", ("6585 3", Stands, &[(IMS, DATE)], 428, "expectation-required")),
    ("required", "PUT", ("13.1.1", Stands, &[(IM, "\"{v}\"")], 200, "")),
    ("required", "PUT", ("13.1.1", Stands, &[(IM, "*")], 200, "")),
    ("required", "PUT", ("13.1.2", Nothing, &[(INM, "*")], 201, "")),
    ("required", "PUT", ("13.1.1", Stands, &[(IM, "7")], 400, "malformed-precondition")),
    ("required", "PATCH", ("6585 3", Stands, &[], 428, "expectation-required")),
    ("required", "PATCH", ("13.2.1", Nothing, &[], 404, "not-found")),
    ("required", "DELETE", ("6585 3", Stands, &[], 428, "expectation-required")),
    ("required", "DELETE", ("13.2.1", Nothing, &[], 404, "not-found")),
    ("required", "DELETE", ("13.2.1", Deleted, &[], 410, "deleted")),
    ("required", "GET", ("9.3.1", Stands, &[], 200, "")),
    ("required", "POST", ("9.3.3", Nothing, &[], 201, "")),
    ("starless", "PUT", ("6585 3", Stands, &[(IM, "*")], 428, "expectation-required")),
    ("starless", "PUT", ("6585 3", Nothing, &[(IM, "*")], 428, "expectation-required")),
    ("starless", "PUT", ("13.1.2", Nothing, &[(INM, "*")], 201, "")),
    ("starless", "PATCH", ("6585 3", Stands, &[(IM, "*")], 428, "expectation-required")),
    ("starless", "DELETE", ("6585 3", Stands, &[(IM, "*")], 428, "expectation-required")),
    ("starless", "DELETE", ("13.2.1", Nothing, &[(IM, "*")], 404, "not-found")),
    ("starless", "GET", ("13.1.1", Stands, &[(IM, "*")], 200, "")),
    ("lenient", "PUT", ("13.1.1", Stands, &[(IM, "W/\"{v}\"")], 200, "")),
    ("lenient", "PUT", ("13.1.1", Stands, &[(IM, "\"{v}-gzip\"")], 200, "")),
    ("lenient", "PUT", ("13.1.1", Stands, &[(IM, "W/\"{v}-br\"")], 200, "")),
    ("lenient", "PUT", ("13.1.1", Stands, &[(IM, "W/\"{old}\"")], 412, "stale")),
    ("lenient", "PUT", ("13.1.1", Stands, &[(IM, "\"foreign\"")], 412, "foreign-tag")),
    ("lenient", "PUT", ("13.1.2", Stands, &[(INM, "W/\"{v}\"")], 412, "stale")),
    ("lenient", "PATCH", ("13.1.1", Stands, &[(IM, "\"{v}--gzip\"")], 200, "")),
    ("lenient", "DELETE", ("13.1.1", Stands, &[(IM, "W/\"{v}\"")], 204, "")),
    ("lenient", "GET", ("13.1.2", Stands, &[(INM, "\"{v}-gzip\"")], 304, "")),
    ("lenient", "GET", ("13.1.1", Stands, &[(IM, "W/\"{v}\"")], 200, "")),
];

/// Each kind of terms by its name, which is also where the service has them.
pub(super) const NAMED: [(&str, Terms); 4] = [
    ("plain", Terms::new()),
    ("required", Terms::new().required()),
    ("starless", Terms::new().without_star()),
    ("lenient", Terms::new().lenient()),
];

pub(super) fn all() -> Vec<Case> {
    let rows = [
        ("GET", READS),
        ("HEAD", READS),
        ("PUT", PUTS),
        ("POST", POSTS),
        ("PATCH", PATCHES),
        ("PATCH once", PATCHES),
        ("DELETE", DELETES),
    ];
    let plain =
        rows.into_iter().flat_map(|(method, rows)| rows.iter().map(move |row| ("plain", method, *row)));
    plain
        .chain(TERMS.iter().copied())
        .map(|(terms, method, (section, met, headers, status, reason))| Case {
            section,
            method,
            met,
            headers,
            terms,
            status,
            reason,
        })
        .collect()
}
