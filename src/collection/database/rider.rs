//! [`Rider`], an entry that a step added to a commit.

use std::sync::Arc;

use crate::collection::database::member::Member;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::part::Base;
use crate::store::{Action, Condition, Entry, Mismatch};

/// What the caller hears where a check fails, made of its own mismatch.
pub(super) type Told = dyn Fn(Mismatch) -> Mismatch + Send + Sync;

/// An entry that a step added to a commit.
pub(super) struct Rider {
    pub(super) member: Arc<dyn Member>,
    /// As the store knows it.
    pub(super) full_id: String,
    pub(super) condition: Condition,
    action: Action<Opaque>,
    told: Option<Arc<Told>>,
    pub(super) base: Base<Opaque>,
}

impl Rider {
    pub(super) fn new(
        member: Arc<dyn Member>,
        full_id: String,
        condition: Condition,
        action: Action<Opaque>,
        told: Option<Arc<Told>>,
    ) -> Self {
        Self { member, full_id, condition, action, told, base: Base::Unread }
    }

    pub(super) fn writes(&self) -> bool {
        !matches!(self.action, Action::Check)
    }

    pub(super) fn entry(&self) -> Entry<'_, Opaque> {
        Entry { id: &self.full_id, condition: self.condition, action: self.action.clone() }
    }

    /// The same, as its own collection names it.
    pub(super) fn own_entry(&self) -> Entry<'_, Opaque> {
        let id = self.member.name().id_of(&self.full_id).unwrap_or(&self.full_id);
        Entry { id, ..self.entry() }
    }

    /// What the caller hears of this mismatch.
    pub(super) fn told(&self, mismatch: Mismatch) -> Mismatch {
        let own = self.member.shown(mismatch.with_condition(self.condition));
        match &self.told {
            Some(told) => told(own),
            None => own,
        }
    }
}
