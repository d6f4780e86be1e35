//! [`Strategy`], how a place is merged that both sides changed.

/// How a place is merged that both sides changed. Where only one did, its change is kept, whatever the strategy.
///
/// A place that holds something else than its strategy is for is merged as if it had none: objects by their members, equal
/// values as one, and everything else as a whole. So is one that a side removed.
///
/// ```
/// use ifmatch::merge::{Merge, Strategy};
/// use serde_json::json;
///
/// let [base, mine, theirs] = [json!(["a", "b"]), json!(["a", "b", "c"]), json!(["b"])];
/// assert!(Merge::new().values(&base, &mine, &theirs).is_err());
///
/// let merge = Merge::new().at("", Strategy::Set);
/// assert_eq!(merge.values(&base, &mine, &theirs).unwrap(), json!(["b", "c"]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// An array whose order means nothing, and that has each element once: what either side added or removed is. It is an array as
    /// any other where a side has an element twice.
    Set,
    /// An array of objects that are told apart by this member, a text or a number: each is merged with its counterparts, wherever
    /// they stand, and what one side moved is moved. It is an array as any other where an element lacks the member, or two have
    /// the same, and an overlap as a whole where both sides moved elements to other orders.
    Keyed(&'static str),
    /// A text of lines: edits that do not touch are both kept, and the text overlaps as a whole where some do.
    Lines,
    /// A number that both sides count up or down: both differences are added to the base, also where they are equal. The base
    /// counts as 0 where it is absent or `null`. Whole numbers are added exactly; a sum that no JSON number holds is an overlap.
    Counter,
    /// The greater of two numbers, or of two texts, compared byte by byte: of times, where all are of one zone and one width.
    Max,
    /// The smaller of two numbers, or of two texts, compared byte by byte.
    Min,
    /// What is mine, also where I removed it.
    Mine,
    /// What is theirs, also where they removed it.
    Theirs,
}
