//! Requests that apply once, by their `Idempotency-Key`.

mod kept;
mod killed;
mod served;
mod verbs;
