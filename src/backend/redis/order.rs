//! How a commit is put to the script that applies it, and what its answers mean.

use std::num::NonZeroU64;

use super::answer::ScriptAnswer;
use super::keys::Keys;
use super::script::{COMMIT, FREEING_COMMIT, Request};
use super::trouble::Trouble;
use crate::backend::engine::draw_tag;
use crate::backend::record::{Damage, Record};
use crate::store::{
    Action, Commit, Committed, Conflict, Corrupt, Entry, Error, Expected, Found, Receipt, Refusal, Version,
    Versioned,
};

/// From how many bytes on a value is sent in a record that is whole but for its number. Lua looks at every byte of each
/// string it makes: a large record is stored first and numbered afterwards, a small one is put together.
const LARGE: usize = 1024;

/// The bytes of a record up to the end of its version.
const VERSIONED: usize = 10;

/// Why a commit that was judged was not applied.
pub(super) enum Verdict {
    /// It is refused for good.
    Refused(Error),
    /// There is no namespace there.
    Gone,
    /// The answer is no verdict.
    Trouble(Trouble),
}

impl From<Trouble> for Verdict {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// The run of the script that judges and applies `commit`.
pub(super) fn call(keys: &Keys, history: usize, commit: &Commit<'_, [u8]>) -> Request {
    let entries = commit.entries();
    let bytes: usize = entries.iter().map(|entry| 64 + 2 * entry.id.len() + size(entry)).sum();
    let mut names: Vec<Vec<u8>> =
        [&keys.meta, &keys.ids, &keys.deleted, &keys.log, &keys.writes, &keys.closed]
            .map(|key| key.clone().into_bytes())
            .into();
    names.extend(entries.iter().map(|entry| keys.value(entry.id)));
    let tag = draw_tag();
    let puts = entries.iter().any(|entry| matches!(entry.action, Action::Put(_)));
    let script = if puts { &COMMIT } else { &FREEING_COMMIT };
    let write = commit.remembered_write().map(|write| write.to_bits().to_be_bytes());
    let mut call = script
        .call(&names, bytes)
        .argument(history.to_string())
        .argument(&tag.to_be_bytes()[1..])
        .argument(write.as_ref().map_or(&[][..], |write| &write[..]))
        .argument(commit.fingerprint().to_be_bytes());
    for entry in entries {
        call = call.argument(spec(entry));
        if let Action::Put(value) = &entry.action {
            let record = Record::encode_to_compose(entry.id, tag, value);
            call = call.argument(if value.len() < LARGE { &record[VERSIONED..] } else { &record[..] });
        }
    }
    call
}

fn size(entry: &Entry<'_, [u8]>) -> usize {
    match &entry.action {
        Action::Put(value) => value.len(),
        Action::Check | Action::Delete => 0,
    }
}

/// What is done and what is expected, in the letters of the script.
fn spec(entry: &Entry<'_, [u8]>) -> Vec<u8> {
    let action = match &entry.action {
        Action::Check => b'c',
        Action::Put(value) if value.len() < LARGE => b'p',
        Action::Put(_) => b'P',
        Action::Delete => b'd',
    };
    match entry.condition.expected {
        Expected::Any => vec![action, b'*'],
        Expected::Absent => vec![action, b'0'],
        Expected::Present => vec![action, b'1'],
        Expected::Version(version) => {
            let mut spec = vec![action, b'v'];
            spec.extend(version.to_bits().get().to_be_bytes());
            spec
        }
    }
}

/// What the script made of `commit`.
pub(super) fn verdict(commit: &Commit<'_, [u8]>, mut answer: ScriptAnswer) -> Result<Committed, Verdict> {
    match answer.word() {
        "applied" => Ok(committed(&answer.bytes()?)?),
        "conflict" => Err(conflict(commit, answer.list()?)?),
        "damaged" => {
            let index = answer.number()?;
            let entry = commit.entries().get(index).ok_or(Trouble::Unexpected)?;
            let stored = answer.bytes()?;
            let corrupt = match Record::decode(entry.id, &stored) {
                Err(damage) => corrupt(entry.id, &stored, damage),
                // Whole by the rules of another format, which an engine does not compose.
                Ok(_) => corrupt(entry.id, &stored, Damage::Format { format: stored[0] }),
            };
            Err(Verdict::Refused(corrupt))
        }
        "closed" => {
            let write = commit.write().ok_or(Trouble::Unexpected)?;
            Err(Verdict::Refused(Refusal::Closed { write }.into()))
        }
        "reused" => {
            let write = commit.write().ok_or(Trouble::Unexpected)?;
            Err(Verdict::Refused(Refusal::Reused { write }.into()))
        }
        "outside" => {
            let write = commit.write().ok_or(Trouble::Unexpected)?;
            let newest = version(&answer.bytes()?);
            Err(Verdict::Refused(Refusal::Outside { write, newest }.into()))
        }
        "exhausted" => Err(Verdict::Refused(Refusal::VersionsExhausted.into())),
        "place" => Err(match answer.trouble() {
            Trouble::Format(format) if format.is_empty() => Verdict::Gone,
            trouble => Verdict::Trouble(trouble),
        }),
        _ => Err(answer.trouble().into()),
    }
}

/// The receipts: of each entry the version now and the one replaced, 8 bytes each, zeros where there is none.
pub(super) fn committed(receipts: &[u8]) -> Result<Committed, Trouble> {
    if !receipts.len().is_multiple_of(16) {
        return Err(Trouble::Unexpected);
    }
    let pairs = receipts.chunks_exact(16).map(|pair| pair.split_at(8));
    Ok(pairs.map(|(now, replaced)| Receipt { version: version(now), replaced: version(replaced) }).collect())
}

/// The version in 8 bytes.
pub(super) fn version(bytes: &[u8]) -> Option<Version> {
    NonZeroU64::new(u64::from_be_bytes(bytes.try_into().ok()?)).map(Version::from_bits)
}

fn conflict(commit: &Commit<'_, [u8]>, mut refused: ScriptAnswer) -> Result<Verdict, Trouble> {
    let mut mismatches = Vec::new();
    while !refused.is_empty() {
        let (index, stored, deletion) = (refused.number()?, refused.bytes()?, refused.bytes()?);
        let entry = commit.entries().get(index).ok_or(Trouble::Unexpected)?;
        let found = match value(entry.id, &stored) {
            Ok(Some(current)) => Found::Value(current),
            Ok(None) => version(&deletion).map_or(Found::Nothing, Found::Deleted),
            Err(corrupt) => return Ok(Verdict::Refused(corrupt)),
        };
        mismatches.push(entry.judge(found).err().ok_or(Trouble::Unexpected)?);
    }
    let conflict = Conflict::new(mismatches).ok_or(Trouble::Unexpected)?;
    Ok(Verdict::Refused(conflict.into()))
}

/// The value stored under an id; no bytes are no value.
pub(super) fn value(id: &str, stored: &[u8]) -> Result<Option<Versioned<[u8]>>, Error> {
    if stored.is_empty() {
        return Ok(None);
    }
    match Record::decode(id, stored) {
        Ok(record) => Ok(Some(Versioned::new(record.version, record.value))),
        Err(damage) => Err(corrupt(id, stored, damage)),
    }
}

/// The version of what is stored under an id; no bytes are no value.
pub(super) fn version_of(id: &str, stored: &[u8]) -> Result<Option<Version>, Error> {
    if stored.is_empty() {
        return Ok(None);
    }
    Record::version_of(stored).map(Some).map_err(|damage| corrupt(id, stored, damage))
}

fn corrupt(id: &str, stored: &[u8], damage: Damage) -> Error {
    Corrupt::new(id, Record::claimed_version(stored), damage).into()
}
