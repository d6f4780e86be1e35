//! A value as a document that can be changed, and back: nothing is lost on either way in silence.

use std::error::Error as StdError;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::codec::Codec;
use crate::codec::json::kept;
use crate::codec::json::place;
use crate::codec::json::{Fault, Json, limits, reads_as};

/// Why a document does not stand for a value of its type.
#[derive(Debug)]
pub(crate) enum Unkept {
    /// The type can't hold it, and this is why.
    #[cfg_attr(not(feature = "patch"), expect(dead_code, reason = "a merge tells the place instead"))]
    Unreadable(String),
    /// What is at this place, a JSON pointer, is not of the shape that the type has there.
    #[cfg_attr(not(feature = "patch"), expect(dead_code, reason = "a merge tells the place instead"))]
    Misfit(String),
    /// Nothing would be kept of what is at these places, as JSON pointers. At least one.
    Dropped(Vec<String>),
}

/// The JSON of a value, through its text: as a value of `serde_json` an `f32` of 0.1 would be 0.10000000149.
///
/// # Errors
///
/// What does not survive its own way through JSON: a skipped field that is not at its default, `Some(None)`, a float that
/// is no number, an integer past 64 bits; and what nests too deep, or has too many values.
pub(crate) fn document<T>(value: &T) -> Result<Value, Box<dyn StdError + Send + Sync>>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let text = serde_json::to_string(value).map_err(|_| Fault::Unwritable)?;
    limits::check(text.as_bytes())?;
    let document: Value = serde_json::from_str(&text).map_err(Fault::from)?;
    // By `==`, which sees what leaves no trace in the text, and by the text, which sees what a poor `==` does not compare.
    match T::deserialize(&document) {
        Ok(back) if back == *value && reads_as(text.as_bytes(), &back) => Ok(document),
        // The codec can tell the place of most of it.
        _ => Err(Json.encode(value).err().unwrap_or_else(|| NOT_AS_IT_IS.into())),
    }
}

/// The value that a document stands for, if it says nothing that the type drops.
pub(crate) fn value<T>(document: &Value) -> Result<T, Unkept>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let unreadable = |problem: String| Unkept::Unreadable(problem);
    let text = serde_json::to_vec(document).map_err(|_| unreadable("it is no JSON".to_owned()))?;
    let value: T = Json.decode(&text).map_err(|fault| match serde_json::from_slice::<T>(&text) {
        Err(error) if error.is_data() => Unkept::Misfit(place::at(document, error.column())),
        _ => unreadable(fault.to_string()),
    })?;
    // Most documents are what the type writes: that is seen without another one being built.
    if reads_as(&text, &value) {
        return Ok(value);
    }
    let again = serde_json::to_value(&value).map_err(|_| unreadable("it is no JSON".to_owned()))?;
    if again == *document {
        return Ok(value);
    }
    // A type that reads a member minds what stands there.
    let mut reads = |path: &str| {
        let mut other = document.clone();
        let Some(member) = other.pointer_mut(path) else { return false };
        *member = if member.is_object() { Value::from(0) } else { Value::from_iter([("", 0)]) };
        serde_json::to_vec(&other).is_ok_and(|text| Codec::<T>::decode(&Json, &text).is_err())
    };
    let dropped = kept::dropped(document, &again, &mut reads);
    if !dropped.is_empty() {
        return Err(Unkept::Dropped(dropped));
    }
    // What was left out was what a document without it stands for.
    match T::deserialize(&again) {
        Ok(back) if back == value => Ok(value),
        _ => Err(unreadable(NOT_AS_IT_IS.to_owned())),
    }
}

const NOT_AS_IT_IS: &str = "it would not read back from its JSON as it is";
