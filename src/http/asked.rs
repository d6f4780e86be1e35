//! [`Asked`], what the preconditions of a request come to where a resource is as found (RFC 9110 §13.2.2).

use crate::http::etag::Comparison;
use crate::http::field::Tags;
use crate::http::terms::Terms;
use crate::store::{
    Condition, Conflict, Error, Expected, Found, Intent, Mismatch, Origin, Refusal, Resource, Version,
};

pub(super) const IF_MATCH: &str = "If-Match";

/// What came of the preconditions where the resource is as found.
pub(super) enum Evaluation {
    Holds,
    IfMatchFailed,
    IfNoneMatchFailed,
}

/// Headers that could be read.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) if_match: Option<&'a Tags>,
    pub(super) if_none_match: Option<&'a Tags>,
    pub(super) terms: Terms,
}

impl Asked<'_> {
    pub(super) fn origin(&self) -> Origin {
        match (self.if_match, self.if_none_match) {
            (None, None) => Origin::Argument,
            _ => Origin::Protocol,
        }
    }

    /// RFC 9110 §13.2.2, steps 1 and 3.
    pub(super) fn evaluate(&self, found: Option<Version>) -> Evaluation {
        let admits = |tags: Option<&Tags>, comparison| tags.map(|tags| tags.admit(found, comparison));
        if admits(self.if_match, self.strongly()) == Some(false) {
            return Evaluation::IfMatchFailed;
        }
        if admits(self.if_none_match, self.weakly()) == Some(true) {
            return Evaluation::IfNoneMatchFailed;
        }
        Evaluation::Holds
    }

    pub(super) fn judge<T: Resource + ?Sized>(
        &self,
        id: &str,
        intent: Intent,
        found: Found<T>,
    ) -> Result<(), Error> {
        match (self.evaluate(found.version()), self.if_none_match) {
            (Evaluation::Holds, _) => Ok(()),
            (Evaluation::IfMatchFailed, _) => Err(self.if_match_failed(id, intent, found)),
            (Evaluation::IfNoneMatchFailed, Some(Tags::Any)) => {
                Err(conflict(id, Expected::Absent, intent, found))
            }
            // "Not this version": no expectation says that, and something was found.
            (Evaluation::IfNoneMatchFailed, _) => Err(conflict(id, Expected::Present, intent, found)),
        }
    }

    pub(super) fn if_match_failed<T: Resource + ?Sized>(
        &self,
        id: &str,
        intent: Intent,
        found: Found<T>,
    ) -> Error {
        match self.if_match {
            // The tag of this very state, but for what a proxy did to it: with a new read it would come back so again.
            Some(tags @ Tags::Listed(_))
                if self.named() == Expected::Present || tags.admit(found.version(), Comparison::Lenient) =>
            {
                self.unmatchable(id, tags)
            }
            _ => conflict(id, self.named(), intent, found),
        }
    }

    /// The refusal of tags that can match no version, as they are compared.
    fn unmatchable(&self, id: &str, tags: &Tags) -> Error {
        match tags.versions(Comparison::Lenient).next() {
            Some(_) => Refusal::AlteredCondition { id: id.into(), name: IF_MATCH }.into(),
            None => Refusal::ForeignCondition { id: id.into(), name: IF_MATCH }.into(),
        }
    }

    /// What `If-Match` expected: the first version of its list, else that there is something.
    pub(super) fn named(&self) -> Expected {
        let named = self.if_match.and_then(|tags| tags.versions(self.strongly()).next());
        named.map_or(Expected::Present, Expected::Version)
    }

    /// The version that `If-Match` names, where it names exactly one. Tags beside it that are not ours never match.
    pub(super) fn only_version(&self, tags: &Tags) -> Option<Version> {
        let mut versions = tags.versions(self.strongly());
        let first = versions.next()?;
        versions.all(|other| other == first).then_some(first)
    }

    fn strongly(&self) -> Comparison {
        if self.terms.are_lenient() { Comparison::Lenient } else { Comparison::Strong }
    }

    fn weakly(&self) -> Comparison {
        if self.terms.are_lenient() { Comparison::Lenient } else { Comparison::Weak }
    }
}

fn conflict<T: Resource + ?Sized>(id: &str, expected: Expected, intent: Intent, found: Found<T>) -> Error {
    Conflict::from(Mismatch::new(id, Condition::from_protocol(expected), intent, found)).into()
}
