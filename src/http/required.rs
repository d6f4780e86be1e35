//! [`Required`], the preconditions of a request that must have one.

use std::ops::Deref;

use crate::http::precondition::Preconditions;

/// The preconditions of a request that has to say which state it is based on, with `If-Match` or `If-None-Match: *`; else
/// the call it is handed to refuses with 428.
///
/// The frameworks of [`web`](crate::web) extract it. By hand it is [`Terms::required`](crate::http::Terms::required):
///
/// ```
/// use ifmatch::http::{self, Preconditions, Required};
/// use ifmatch::Collection;
///
/// let notes = Collection::<String>::in_memory();
/// let basis = Required::of(Preconditions::from_headers([("Accept", "*/*")]));
/// let refused = notes.put_if("readme", &basis, "hello".to_string()).wait().unwrap_err();
/// assert_eq!(http::status(&refused), 428);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "only the call it is handed to refuses what does not hold"]
pub struct Required(pub Preconditions);

impl Required {
    /// Requires that these say it, on the terms that they are under otherwise.
    ///
    /// ```
    /// # use ifmatch::http::{Preconditions, Required, Terms};
    /// let headers = [("If-Match", "W/\"7\"")];
    /// let basis = Required::of(Preconditions::from_headers(headers).under(Terms::new().lenient()));
    /// # let _ = basis;
    /// ```
    pub fn of(request: Preconditions) -> Self {
        let terms = request.terms().required();
        Self(request.under(terms))
    }
}

impl Deref for Required {
    type Target = Preconditions;

    fn deref(&self) -> &Preconditions {
        &self.0
    }
}
