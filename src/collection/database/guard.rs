//! [`Guard`], a check of another collection that rides along with each write.

use std::sync::Arc;

#[cfg(feature = "json")]
use crate::collection::collection::Collection;
use crate::collection::database::along::Along;
use crate::collection::database::member::Member;
use crate::collection::database::part::Part;
use crate::collection::database::rider::Guarded;
use crate::collection::database::step::{Exit, Step};
use crate::store::{Action, Error, Expected, Mismatch, Refusal, Resource, Version};

/// A check of another collection that rides along with each write, and what is told where it fails.
///
/// A step could add the same check. Of a guard it is known before a commit comes what it checks.
pub(crate) struct Guard {
    /// The other collection. Nothing here holds the database: that would hold itself.
    member: Arc<dyn Member>,
    /// The one id that is checked, and its version. Else it is the id that is written, and nothing may be there.
    one: Option<(Box<str>, Version)>,
    told: Tell,
}

/// What is told of the entry that it guards, made of the mismatch of the check.
pub(crate) type Tell = Arc<dyn Fn(Guarded<'_>, Mismatch) -> Mismatch + Send + Sync>;

impl Guard {
    /// Refuses the write of an id that is there in `of`, unless the commit expects a version of it.
    #[cfg(feature = "json")]
    pub(crate) fn absent<U: Resource>(of: &Collection<U>, told: Tell) -> Self {
        Self { member: member(of), one: None, told }
    }

    /// Refuses each write unless this version of the id is there in `of`.
    #[cfg(feature = "json")]
    pub(crate) fn unchanged<U: Resource>(of: &Collection<U>, id: &str, version: Version, told: Tell) -> Self {
        Self { member: member(of), one: Some((id.into(), version)), told }
    }

    pub(super) fn member(&self) -> &Arc<dyn Member> {
        &self.member
    }

    /// The id that is checked where `written` is written, and what is expected there.
    #[inline]
    pub(super) fn check<'i>(&'i self, written: &'i str) -> (&'i str, Expected) {
        match &self.one {
            Some((id, version)) => (id, Expected::Version(*version)),
            None => (written, Expected::Absent),
        }
    }

    /// Whether it has nothing to check where a commit expects a version of the same id already.
    #[inline]
    pub(super) fn gives_way(&self) -> bool {
        self.one.is_none()
    }

    /// Adds its check for the entry at this place, which writes.
    pub(super) fn ride(&self, at: usize, written: &str, along: &mut Along<'_>) -> Result<(), Error> {
        let (id, expected) = self.check(written);
        if self.gives_way() && along.expects_in(self.member.name(), id).is_some() {
            return Ok(());
        }
        match along.guard(at, &self.member, id, expected, &self.told) {
            // The ids of the other collection end earlier: there is none of this one.
            Err(Error::Refused(Refusal::Id { .. })) if expected == Expected::Absent => Ok(()),
            added => added,
        }
    }
}

#[cfg(feature = "json")]
fn member<U: Resource>(of: &Collection<U>) -> Arc<dyn Member> {
    Arc::clone(&of.membership().expect("what guards is of a database").member)
}

impl<T: Resource> Step<T> for Guard {
    fn enter(&self, part: &Part<'_, T>, along: &mut Along<'_>) -> Result<Exit, Error> {
        let entries = part.entries().iter().enumerate();
        for (at, entry) in entries.filter(|(_, entry)| !matches!(entry.action, Action::Check)) {
            self.ride(at, entry.id, along)?;
        }
        Ok(Exit::silent())
    }
}
