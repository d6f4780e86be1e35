<<<<<<< HEAD
//! Behaviour across modules: one binary, so that it links once.

mod articles;
mod manifest;
=======
//! The integration tests, in one binary.

mod dice;
mod history;
>>>>>>> 1854553 (Record histories of a store and check them along the chains of their versions)
