//! [`Expose`], how much an error tells.

/// How much a problem tells of the resource, by what its caller may read.
///
/// ```
/// use ifmatch::http::{Expose, Problem};
/// use ifmatch::{Conflict, Versioned};
///
/// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
/// let conflict = || Conflict::state("a1", "archived", "it is archived").with_current(&article);
///
/// let [nothing, full] =
///     [Expose::Nothing, Expose::Full].map(|level| Problem::new(conflict()).exposing::<String>(level));
/// assert_eq!(serde_json::to_value(nothing)?.get("current_version"), None);
/// assert_eq!(serde_json::to_value(full)?["current"], "text");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Expose {
    /// The status and the reason, and nothing of any resource: for callers who may not read it. That it is there at all can
    /// still be told from a status.
    Nothing,
    /// Ids and versions, rules and holders, as a problem has them at first.
    #[default]
    Version,
    /// The current value too: for callers who may read it.
    Full,
}
