//! [`Rider`], an entry that a step added to a commit.

use std::sync::Arc;

use crate::collection::database::guard::Tell;
use crate::collection::database::member::Member;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::part::Base;
use crate::store::{Action, Condition, Entry, Expected, Intent, Mismatch, Versioned};

/// What the caller hears where a check fails, made of its own mismatch.
pub(super) enum Told {
    By(Arc<dyn Fn(Mismatch) -> Mismatch + Send + Sync>),
    /// Of the entry at this place, riders counted behind the caller's own: that is what the check guards.
    Of(usize, Tell),
}

/// An entry that is guarded by a check which rides along.
#[cfg_attr(not(feature = "json"), expect(dead_code, reason = "only leases guard"))]
pub(crate) struct Guarded<'a> {
    pub(crate) id: &'a str,
    pub(crate) collection: &'a Arc<str>,
    pub(crate) intent: Intent,
}

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
    told: Option<Told>,
    pub(super) base: Base<Opaque>,
}

impl Rider {
    pub(super) fn new(
        member: Arc<dyn Member>,
        full_id: String,
        condition: Condition,
        action: Action<Opaque>,
        told: Option<Told>,
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

    /// Whether it changes nothing, and is decided on nothing.
    pub(super) fn only_checks(&self) -> bool {
        !self.writes()
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

    /// What the caller hears of this mismatch. `guarded` finds the entry at a place.
    pub(super) fn told<'a>(
        &self,
        mismatch: Mismatch,
        guarded: impl FnOnce(usize) -> Option<Guarded<'a>>,
    ) -> Mismatch {
        let own = self.member.shown(mismatch.with_condition(self.condition));
        match &self.told {
            Some(Told::By(told)) => told(own),
            Some(Told::Of(place, told)) => match guarded(*place) {
                Some(guarded) => told(guarded, own),
                None => own,
            },
            None => own,
        }
    }

    /// As what another check guards.
    pub(super) fn guarded(&self) -> Guarded<'_> {
        let name = self.member.name();
        let id = name.id_of(&self.full_id).unwrap_or(&self.full_id);
        Guarded { id, collection: name.text(), intent: self.entry().intent() }
    }
}
