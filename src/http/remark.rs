//! [`Remark`], what there is to say of an answer that was made of no error.

/// What there is to say of an answer that was made of no [`Error`](crate::Error), and that its status does not: in the extensions of the
/// response, beside or in place of the [`Cause`](crate::http::Cause). The adapters to frameworks put it there; a handler that answers
/// what [`Keys::answered`](crate::http::Keys::answered) gave does so by itself.
///
/// ```
/// use ifmatch::http::{Exchange, Outcome, Remark};
///
/// let exchange = Exchange::new("POST", 201, None).remarked(Some(&Remark::Replayed));
/// assert_eq!(exchange.outcome, Outcome::Replayed);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// It is the answer to an earlier request with the same `Idempotency-Key`: nothing was applied.
    Replayed,
    /// It refuses what no error of ours is of, as a patch that can't be read: with this
    /// [`reason`](crate::http::Problem::reason) of the table in [`http`](crate::http).
    Refused(&'static str),
}
