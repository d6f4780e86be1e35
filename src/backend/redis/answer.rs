//! [`ScriptAnswer`], what a script gives back: a word and what belongs to it.

use ::redis::Value;

use super::trouble::Trouble;

/// The answer of a script: a word, then what belongs to it.
pub(super) struct ScriptAnswer {
    word: Vec<u8>,
    rest: std::vec::IntoIter<Value>,
}

impl ScriptAnswer {
    pub(super) fn new(value: Value) -> Result<Self, Trouble> {
        let Value::Array(values) = value else { return Err(Trouble::Unexpected) };
        let mut rest = values.into_iter();
        let Some(Value::BulkString(word)) = rest.next() else { return Err(Trouble::Unexpected) };
        Ok(Self { word, rest })
    }

    /// The word that says what came of it; empty where it is no text.
    pub(super) fn word(&self) -> &str {
        str::from_utf8(&self.word).unwrap_or_default()
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, Trouble> {
        match self.rest.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            _ => Err(Trouble::Unexpected),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Trouble> {
        String::from_utf8(self.bytes()?).map_err(|_| Trouble::Unexpected)
    }

    pub(super) fn number(&mut self) -> Result<usize, Trouble> {
        match self.rest.next() {
            Some(Value::Int(number)) => usize::try_from(number).map_err(|_| Trouble::Unexpected),
            _ => Err(Trouble::Unexpected),
        }
    }

    /// A list within the answer, to be read in the same way.
    pub(super) fn list(&mut self) -> Result<Self, Trouble> {
        match self.rest.next() {
            Some(Value::Array(values)) => Ok(Self { word: Vec::new(), rest: values.into_iter() }),
            _ => Err(Trouble::Unexpected),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.len() == 0
    }

    /// The trouble behind a word that is no answer.
    pub(super) fn trouble(mut self) -> Trouble {
        match self.word() {
            "evicts" => Trouble::evicts(&self.text().unwrap_or_default()),
            "place" => Trouble::Format(self.text().unwrap_or_default().escape_debug().to_string()),
            _ => Trouble::Unexpected,
        }
    }
}
