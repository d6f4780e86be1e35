//! [`Rider`], an entry that a step added to a commit.

use std::sync::Arc;

use crate::collection::database::member::Member;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::part::Base;
use crate::store::{Action, Condition, Entry, Expected, Mismatch, Versioned};

/// What the caller hears where a check fails, made of its own mismatch.
pub(super) type Told = dyn Fn(Mismatch) -> Mismatch + Send + Sync;

/// What is put, made of what stands there.
pub(super) type Change = dyn Fn(Option<Versioned<Opaque>>) -> Arc<Opaque> + Send + Sync;

/// An entry that a step added to a commit.
pub(super) struct Rider {
    pub(super) member: Arc<dyn Member>,
    /// As the store knows it.
    pub(super) full_id: String,
    pub(super) condition: Condition,
    /// A check until it is known what is put, where that depends on what stands there.
    action: Action<Opaque>,
    change: Option<Arc<Change>>,
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
        Self { member, full_id, condition, action, change: None, told, base: Base::Unread }
    }

    /// One that puts what `change` makes of what stands there.
    pub(super) fn changing(member: Arc<dyn Member>, full_id: String, change: Arc<Change>) -> Self {
        let rider = Self::new(member, full_id, Expected::Any.into(), Action::Check, None);
        Self { change: Some(change), ..rider }
    }

    fn writes(&self) -> bool {
        self.change.is_some() || !matches!(self.action, Action::Check)
    }

    /// Whether anything is decided on what it writes over.
    pub(super) fn wants_base(&self) -> bool {
        self.writes() && (self.change.is_some() || self.member.wants_base())
    }

    /// Decides on what stands there, and applies only to that.
    pub(super) fn decide(&mut self, found: Option<Versioned<Opaque>>) {
        if let Some(change) = &self.change {
            self.action = Action::Put(change(found.clone()));
        }
        self.base = Base::Read(found);
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
