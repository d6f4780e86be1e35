//! [`Resource`], what a store can hold.

/// What a store can hold: anything that threads can share. Implemented for every such type, sized or not.
///
/// ```
/// fn holds<T: ifmatch::store::Resource + ?Sized>() {}
/// holds::<String>();
/// holds::<[u8]>();
/// ```
pub trait Resource: Send + Sync + 'static {}

impl<T: Send + Sync + 'static + ?Sized> Resource for T {}
