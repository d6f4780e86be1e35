//! Versions, cursors, write ids and ids from any text: no panic, and each has one text only.

#![no_main]

use ifmatch::{Cursor, Version};
use ifmatch::store::{check_id, MAX_ID_BYTES, WriteId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };

    let version = text.parse::<Version>();
    // An oracle of its own: a number of 1 to 20 digits in its shortest form.
    let number = text.parse::<u64>().ok().filter(|number| *number > 0 && number.to_string() == text);
    assert_eq!(version.ok().map(|version| version.to_bits().get()), number);
    if let Ok(version) = version {
        assert_eq!(version.to_string(), text);
    }
    same_in_json(text, version.ok());

    let cursor = text.parse::<Cursor>();
    let printable = text.chars().all(|character| ('!'..='~').contains(&character));
    assert_eq!(cursor.is_ok(), printable && (1..=1024).contains(&text.len()));
    if let Ok(cursor) = &cursor {
        assert_eq!(cursor.as_str(), text);
    }
    same_in_json(text, cursor.ok());

    let write = text.parse::<WriteId>();
    let lower = text.chars().all(|character| character.is_ascii_hexdigit() && !character.is_uppercase());
    assert_eq!(write.is_ok(), lower && text.len() == 32);
    if let Ok(write) = write {
        assert_eq!(write.to_string(), text);
        assert_eq!(WriteId::from_bits(write.to_bits()), write);
    }
    same_in_json(text, write.ok());

    let good = (1..=MAX_ID_BYTES).contains(&text.len()) && !text.contains('\0');
    match check_id(text) {
        Ok(()) => assert!(good),
        Err(refusal) => {
            assert!(!good);
            let message = refusal.to_string();
            // The longest escape of a byte is `\u{1b}`.
            let longest = 6 * MAX_ID_BYTES + 100;
            assert!(!message.chars().any(char::is_control) && message.len() < longest, "{message}");
        }
    }
});

/// JSON text reads as what the plain text does.
fn same_in_json<T: PartialEq + std::fmt::Debug + serde::de::DeserializeOwned>(text: &str, value: Option<T>) {
    let json = serde_json::Value::String(text.to_owned());
    assert_eq!(serde_json::from_value::<T>(json).ok(), value);
}
