//! [`Network`]: how often the way to a simulated store fails, and how long it takes.

use std::time::Duration;

/// How often what goes wrong on the way to a [`Simulated`](super::Simulated) store, each one in so many calls; 0 is
/// never.
///
/// ```
/// use ifmatch::conformance::simulation::Network;
///
/// let lossy = Network { lost_replies: 10, ..Network::calm() };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// A message takes up to this long, each way.
    pub delay: Duration,
    /// The call is refused before it was sent: nothing was applied, and the caller is told so.
    pub refused: u64,
    /// The request is lost: nothing is applied, and the caller can't tell.
    pub lost_requests: u64,
    /// The request is delivered, but only after the caller was told that the outcome is unknown.
    pub late_requests: u64,
    /// The commit is applied and its answer lost.
    pub lost_replies: u64,
    /// A commit with a write id is delivered again, at some later time.
    pub repeated: u64,
    /// There is never an answer, whether or not the request is delivered.
    pub silent: u64,
    /// A watcher is cut off after a batch.
    pub cuts: u64,
}

impl Network {
    /// Messages take up to 2 ms, and all arrive once.
    pub fn calm() -> Self {
        Self {
            delay: Duration::from_millis(2),
            refused: 0,
            lost_requests: 0,
            late_requests: 0,
            lost_replies: 0,
            repeated: 0,
            silent: 0,
            cuts: 0,
        }
    }

    /// Everything goes wrong now and then: about one call in four.
    pub fn rough() -> Self {
        Self {
            refused: 25,
            lost_requests: 20,
            late_requests: 20,
            lost_replies: 12,
            repeated: 8,
            silent: 150,
            cuts: 6,
            ..Self::calm()
        }
    }
}
