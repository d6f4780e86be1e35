//! [`Address`], what a URL says: the endpoints, who logs in, and the prefix of all keys.

use std::fmt;

use super::keys::check_prefix;
use crate::backend::engine::ConnectError;

/// The scheme of a URL.
const SCHEME: &str = "etcd://";

/// The port of an endpoint that names none.
const PORT: u16 = 2379;

/// What a URL says: `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/PREFIX]`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Each a host and a port.
    pub(super) endpoints: Vec<String>,
    pub(super) login: Option<(String, String)>,
    pub(super) prefix: Option<String>,
}

impl Address {
    /// Reads a URL. No error shows a part of it: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, ConnectError> {
        let rest = url.strip_prefix(SCHEME).ok_or_else(|| unusable("it does not begin with etcd://"))?;
        if rest.contains(['?', '#']) {
            return Err(unusable("it has a query or a fragment"));
        }
        // A password may hold an `@` that is not escaped, a host can't.
        let (login, manifests) = match rest.rsplit_once('@') {
            Some((login, manifests)) => (Some(parse_login(login)?), manifests),
            None => (None, rest),
        };
        let (hosts, prefix) = manifests.split_once('/').unwrap_or((manifests, ""));
        let prefix = Some(prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty());
        if let Some(prefix) = prefix {
            check_prefix(prefix)?;
        }
        let endpoints = hosts.split(',').map(parse_endpoint).collect::<Result<_, _>>()?;
        Ok(Self { endpoints, login, prefix: prefix.map(str::to_owned) })
    }
}

// Hand-written: the derived impl would print the password.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn unusable(problem: &str) -> ConnectError {
    ConnectError::Usage { what: "URL", problem: problem.to_owned() }
}

fn parse_login(login: &str) -> Result<(String, String), ConnectError> {
    let (user, password) =
        login.split_once(':').ok_or_else(|| unusable("it names a user without a password"))?;
    Ok((unescape(user)?, unescape(password)?))
}

/// Reads `%` and two hexadecimal digits as the byte they stand for.
fn unescape(text: &str) -> Result<String, ConnectError> {
    let broken = || unusable("its user or password is not escaped as it should be");
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or_else(broken)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(broken());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| broken())?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).map_err(|_| broken())
}

fn parse_endpoint(text: &str) -> Result<String, ConnectError> {
    let (host, port) = match text.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (text, Some(PORT)),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let of_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(of_names)
        }
    };
    match port {
        Some(port) if good && port != 0 => Ok(format!("{host}:{port}")),
        _ => Err(unusable("an endpoint is not a host, or a host, a colon and a port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn a_url_says_endpoints_login_and_prefix() {
        let address = parsed("etcd://ann:s3%3acr%40t@one:1,two,[::1]:3,[::2]/team/app/");

        assert_eq!(address.endpoints, ["one:1", "two:2379", "[::1]:3", "[::2]:2379"]);
        assert_eq!(address.login, Some(("ann".to_owned(), "s3:cr@t".to_owned())));
        assert_eq!(address.prefix.as_deref(), Some("team/app"));
    }

    #[test]
    fn what_a_url_does_not_say_is_left_open() {
        for url in ["etcd://localhost", "etcd://localhost/"] {
            let expected = Address { endpoints: vec!["localhost:2379".into()], login: None, prefix: None };
            assert_eq!(parsed(url), expected);
        }
    }

    #[test]
    fn a_password_may_hold_what_is_not_escaped() {
        assert_eq!(parsed("etcd://ann:p@ss:word@one").login.unwrap().1, "p@ss:word");
    }

    #[test]
    fn other_text_is_refused_and_shown_nowhere() {
        let refused = [
            "",
            "etcd:",
            "http://one",
            "etcd://",
            "etcd:///p",
            "etcd://one,",
            "etcd://one:0",
            "etcd://one:x",
            "etcd://one:70000",
            "etcd://s3cr3t@one",
            "etcd://a:s3cr3t%@one",
            "etcd://a:s3cr3t%4@one",
            "etcd://a:s3cr3t%ff@one",
            "etcd://a:s3cr3t%+4@one",
            "etcd://one/a:b",
            "etcd://one/a?b",
            "etcd://o ne",
            "etcd://[::g]:1",
            "etcd://one:1:2",
        ];

        for url in refused {
            let error = Address::parse(url).unwrap_err();
            assert!(matches!(error, ConnectError::Usage { .. }), "{url:?}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{url:?}");
        }
        assert!(!format!("{:?}", parsed("etcd://s3cr3t:s3cr3t@one")).contains("s3cr3t"));
    }
}
