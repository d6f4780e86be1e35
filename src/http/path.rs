//! Ids in the paths of URLs.

use crate::store::{Error, IdProblem, Refusal};

/// Checks that a resource of this id can be asked for: a client takes `.` and `..` out of a path before it sends it, however
/// they are escaped.
pub(super) fn check(id: &str) -> Result<(), Error> {
    match id {
        "." | ".." => Err(Refusal::Id { id: id.into(), problem: IdProblem::Dots }.into()),
        _ => Ok(()),
    }
}

/// The path of a resource below `base`. Its id is one segment, with all escaped that a segment can't hold.
pub(super) fn below(base: &str, id: &str) -> String {
    let mut path = String::new();
    // What no header can hold, should the base have any.
    push(&mut path, base.strip_suffix('/').unwrap_or(base), |byte| byte.is_ascii_graphic());
    path.push('/');
    push(&mut path, id, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    path
}

/// Escapes all bytes but those that are `plain`.
fn push(path: &mut String, text: &str, plain: impl Fn(u8) -> bool) {
    for byte in text.bytes() {
        match byte {
            byte if plain(byte) => path.push(byte.into()),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_and_nothing_of_it_gets_out() {
        for (id, path) in [
            ("a.b-c_d~e", "/notes/a.b-c_d~e"),
            ("a/b", "/notes/a%2Fb"),
            ("a/../b", "/notes/a%2F..%2Fb"),
            ("100%?x=#y", "/notes/100%25%3Fx%3D%23y"),
            ("ü\r\nset-cookie: x", "/notes/%C3%BC%0D%0Aset-cookie%3A%20x"),
        ] {
            assert_eq!(below("/notes", id), path);
            assert_eq!(below("/notes/", id), path);
        }
        assert_eq!(below("", "a"), "/a");
        assert_eq!(below("/nötes\r\n", "a"), "/n%C3%B6tes%0D%0A/a");
        assert_eq!(below("https://example.org/v1/notes", "a"), "https://example.org/v1/notes/a");
    }

    #[test]
    fn only_what_no_client_can_ask_for_is_refused() {
        for id in [".", ".."] {
            assert_eq!(check(id).unwrap_err().to_string(), format!("id `{id}` cannot be part of a path"));
        }
        for id in ["...", ".a", "a.", "./", "../a", "", " "] {
            assert!(check(id).is_ok(), "{id}");
        }
    }
}
