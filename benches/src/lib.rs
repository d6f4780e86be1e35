//! The speed of `ifmatch` beside its peers: what the binaries of this package share.

pub mod article;
pub mod heap;
pub mod listing;
pub mod peers;
pub mod rounds;
pub mod server;
