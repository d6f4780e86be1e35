//! [`Keys`], the answers to requests that are to apply once.

mod age;
mod keys;
mod record;
mod request;

pub use keys::Keys;
pub use request::KeyedRequest;
