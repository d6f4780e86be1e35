//! Whether two JSON texts say the same, whatever order their maps and sets were walked in.

use std::hash::BuildHasher;
use std::io;

use foldhash::quality::RandomState;

/// What `serde_json` writes to see whether a value is encoded as it was before: it stops at the first byte that differs.
pub(super) struct Compared<'b> {
    rest: &'b [u8],
}

impl<'b> Compared<'b> {
    pub(super) fn with(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all of it was written.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

impl io::Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => self.rest = rest,
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether two texts have the same members and elements, each as often. The order does not matter: a map or a set
/// that is read back is walked in another one. Both are what `serde_json` wrote, and nest as deep as our limits allow.
///
/// Each text comes to one number, and those of a list or a map are added up: no text is sorted, and nothing is allocated.
/// Two texts that differ come to the same number by a chance of one in 2^64, since nobody knows the seed.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    let seed = RandomState::default();
    one.len() == other.len()
        && Reader { rest: one, seed: &seed }.hash() == Reader { rest: other, seed: &seed }.hash()
}

struct Reader<'j> {
    rest: &'j [u8],
    seed: &'j RandomState,
}

impl<'j> Reader<'j> {
    /// A number for what stands here. A scalar is its text: `1` and `1.0` differ.
    fn hash(&mut self) -> u64 {
        match self.rest.first() {
            Some(b'[') => {
                let elements = self.sum(b']', Self::hash);
                self.seed.hash_one((b'[', elements))
            }
            Some(b'{') => {
                let members = self.sum(b'}', |reader| {
                    let key = reader.scalar();
                    reader.skip(1); // the colon
                    reader.seed.hash_one((key, reader.hash()))
                });
                self.seed.hash_one((b'{', members))
            }
            _ => self.seed.hash_one(self.scalar()),
        }
    }

    /// How many stand between brackets, and the sum of their numbers.
    fn sum(&mut self, end: u8, mut one: impl FnMut(&mut Self) -> u64) -> (usize, u64) {
        let (mut count, mut sum) = (0, 0_u64);
        self.skip(1);
        while self.rest.first().is_some_and(|byte| *byte != end) {
            count += 1;
            sum = sum.wrapping_add(one(self));
            if self.rest.first() == Some(&b',') {
                self.skip(1);
            }
        }
        self.skip(1);
        (count, sum)
    }

    fn scalar(&mut self) -> &'j [u8] {
        let mut in_text = false;
        let mut escaped = false;
        let end = self.rest.iter().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            b'"' => {
                in_text = !in_text;
                false
            }
            b',' | b':' | b']' | b'}' => !in_text,
            _ => false,
        });
        // Never nothing: a text that is no JSON would not come to an end.
        let end = end.unwrap_or(self.rest.len()).max(1).min(self.rest.len());
        let (scalar, rest) = self.rest.split_at(end);
        self.rest = rest;
        scalar
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::same;

    #[test]
    fn only_the_order_may_differ() {
        for (one, other) in [
            (r#"{"a":1,"b":[1,2]}"#, r#"{"b":[2,1],"a":1}"#),
            (r#"[{"k":"},]\""},[],{}]"#, r#"[{},[],{"k":"},]\""}]"#),
            (r#""a,b""#, r#""a,b""#),
        ] {
            assert!(same(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
        for (one, other) in [
            ("1", "1.0"),
            ("[1,1,2]", "[1,2,2]"),
            (r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"["1"]"#, "[111]"),
            ("[[1],2]", "[[2],1]"),
        ] {
            assert!(!same(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
    }
}
