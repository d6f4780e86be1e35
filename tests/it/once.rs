//! Requests that apply once, by their `Idempotency-Key`.

mod killed;
mod served;
mod verbs;
