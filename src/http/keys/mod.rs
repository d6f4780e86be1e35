//! [`Keys`], the answers to requests that are to apply once.

mod forget;
mod keys;
mod marks;
mod record;
mod request;
mod ride;

pub use keys::Keys;
pub use request::KeyedRequest;
