//! Pages for those who look further. No code is here but examples, which are tested.

#[doc = include_str!("architecture.md")]
pub mod architecture {}
#[doc = include_str!("dialogue.md")]
pub mod dialogue {}
#[doc = include_str!("frameworks.md")]
pub mod frameworks {}
#[doc = include_str!("gateways.md")]
pub mod gateways {}
#[cfg(feature = "merge")]
#[doc = include_str!("merging.md")]
pub mod merging {}
#[doc = include_str!("performance.md")]
pub mod performance {}
#[doc = include_str!("problems.md")]
pub mod problems {}
#[doc = include_str!("proxies.md")]
pub mod proxies {}
#[doc = include_str!("stores.md")]
pub mod stores {}
#[doc = include_str!("tables.md")]
pub mod tables {}
#[doc = include_str!("testing.md")]
pub mod testing {}
// Its store runs the conformance suite.
#[cfg(feature = "conformance")]
#[doc = include_str!("writing-a-store.md")]
pub mod writing_a_store {}
