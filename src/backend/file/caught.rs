//! The engine panics on some damaged files: here that is caught.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::trouble::Cause;

/// Drops a database that may be damaged: the engine writes where it is dropped, and can panic there too.
pub(super) fn discard<T>(damaged: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(damaged)));
}

/// Runs engine code, which panics on some damaged files.
pub(super) fn caught<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Cause> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(redb::Error::Corrupted(found))) => Err(Cause::Damaged(found)),
        Ok(Err(error)) => Err(Cause::Engine(error)),
        Err(panic) => Err(Cause::Panicked(panic_text(&*panic).to_owned())),
    }
}

/// What a panic said, where it said it in words.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without words")
}
