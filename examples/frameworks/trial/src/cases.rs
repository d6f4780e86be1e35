//! The cases: what is asked of an article in which state, and what is to be answered.

use Met::{Deleted, Nothing, Stands};

/// The state that a request meets. `{v}` in its headers is the tag that stands there, `{old}` one from before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Nothing,
    Deleted,
    Stands,
}

/// A request, and its answer.
#[derive(Debug)]
pub struct Case {
    /// The verb; `text`, `broken`, `elsewhere` and `post` are requests that no handler should see.
    pub call: &'static str,
    pub met: Met,
    pub headers: &'static [(&'static str, &'static str)],
    pub status: u16,
    pub reason: &'static str,
}

const IM: &str = "if-match";
const INM: &str = "if-none-match";

const fn case(
    call: &'static str,
    met: Met,
    headers: &'static [(&'static str, &'static str)],
    status: u16,
    reason: &'static str,
) -> Case {
    Case { call, met, headers, status, reason }
}

/// All that a service is asked. It requires a basis for `replace`, `change` and `delete`.
pub const CASES: &[Case] = &[
    case("create", Nothing, &[], 201, ""),
    case("create", Stands, &[], 409, "exists"),
    case("create", Nothing, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    case("read", Stands, &[], 200, ""),
    case("read", Nothing, &[], 404, "not-found"),
    case("read", Deleted, &[], 410, "deleted"),
    case("read", Stands, &[(INM, "{v}")], 304, ""),
    case("read", Stands, &[(INM, "W/{v}")], 304, ""),
    case("read", Stands, &[(INM, "{old}")], 200, ""),
    case("read", Stands, &[(INM, "malformed")], 200, ""),
    case("read", Stands, &[(IM, "{old}")], 412, "stale"),
    case("head", Stands, &[], 200, ""),
    case("head", Stands, &[(INM, "{v}")], 304, ""),
    case("replace", Stands, &[(IM, "{v}")], 200, ""),
    case("replace", Stands, &[(IM, "{old}, {v}")], 200, ""),
    case("replace", Stands, &[(IM, "{old}"), (IM, "{v}")], 200, ""),
    case("replace", Stands, &[(IM, "*")], 200, ""),
    case("replace", Nothing, &[(INM, "*")], 201, ""),
    case("replace", Deleted, &[(INM, "*")], 201, ""),
    case("replace", Stands, &[(IM, "{old}")], 412, "stale"),
    case("replace", Stands, &[(IM, "W/{v}")], 412, "altered-tag"),
    case("replace", Stands, &[(IM, "\"foreign\"")], 412, "foreign-tag"),
    case("replace", Stands, &[(INM, "*")], 412, "exists"),
    case("replace", Nothing, &[(IM, "*")], 412, "missing"),
    case("replace", Deleted, &[(IM, "{old}")], 412, "deleted"),
    case("replace", Stands, &[(IM, "7")], 400, "malformed-precondition"),
    case("replace", Stands, &[(IM, "*, {v}")], 400, "malformed-precondition"),
    case("replace", Stands, &[(IM, "")], 400, "malformed-precondition"),
    case("replace", Stands, &[], 428, "expectation-required"),
    case("replace", Stands, &[(INM, "{old}")], 428, "expectation-required"),
    case("change", Stands, &[], 428, "expectation-required"),
    case("change", Stands, &[(IM, "*")], 200, ""),
    case("change", Stands, &[(IM, "{v}")], 200, ""),
    case("change", Stands, &[(IM, "{old}")], 412, "stale"),
    case("change", Nothing, &[(IM, "*")], 404, "not-found"),
    case("change", Stands, &[(IM, "7")], 400, "malformed-precondition"),
    case("delete", Stands, &[(IM, "{v}")], 204, ""),
    case("delete", Stands, &[(IM, "{old}")], 412, "stale"),
    case("delete", Nothing, &[(IM, "*")], 404, "missing"),
    case("delete", Stands, &[], 428, "expectation-required"),
    case("text", Stands, &[(IM, "{old}")], 415, "unsupported-media-type"),
    case("broken", Stands, &[(IM, "{old}")], 400, "bad-request"),
    case("post", Stands, &[(IM, "{old}")], 405, "method-not-allowed"),
    case("elsewhere", Nothing, &[(IM, "7")], 404, "no-route"),
];

impl Case {
    /// The headers, with the tags in their places.
    pub fn filled(&self, now: &str, old: &str) -> Vec<(&'static str, String)> {
        let filled = |value: &str| value.replace("{v}", now).replace("{old}", old);
        self.headers.iter().map(|(name, value)| (*name, filled(value))).collect()
    }

    /// Holds the tag that was told against the one that stood there.
    ///
    /// # Panics
    ///
    /// Where it is not that of the state that stands there now.
    pub fn hold(&self, now: &str, told: Option<&str>, shown: &str) {
        let reads = matches!(self.call, "read" | "head");
        match (self.status, told) {
            (200 | 201, Some(told)) => assert_eq!(told == now, reads, "{shown}"),
            (200 | 201, None) => panic!("no tag: {shown}"),
            // A taken id is no precondition: the request was about the collection.
            (409, told) => assert_eq!(told, None, "{shown}"),
            (_, Some(told)) => assert_eq!(told, now, "{shown}"),
            (_, None) => assert!(self.status != 304, "no tag: {shown}"),
        }
    }
}
