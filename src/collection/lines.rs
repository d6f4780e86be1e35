//! [`Gated`], any collection with its lines for hot ids, and [`Lines`], the places of a transaction in several.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::collection::call::Call;
use crate::collection::collection::Collection;
use crate::collection::gate::{Called, Ticket};
use crate::store::Resource;

/// In how many lines a transaction stands at most: past that it is not one id that is hot.
const MOST_LINES: usize = 8;

/// The lines for hot ids of a collection, whatever it holds.
pub(super) trait Gated: Send + Sync {
    /// A place in the line of this id, once its turn has come, or at once where there are no lines. Nothing where the line
    /// has not moved for the stall time.
    fn stand<'a>(&'a self, id: &'a str) -> Standing<'a>;
}

/// Waits for a turn.
pub(super) type Standing<'a> = Pin<Box<dyn Future<Output = Option<Box<dyn Turn + 'a>>> + Send + 'a>>;

/// A turn, for as long as it lives.
pub(super) trait Turn: Send {}

impl<T: Resource + ?Sized> Turn for Ticket<'_, T> {}

impl<T: Resource + ?Sized> Gated for Collection<T> {
    fn stand<'a>(&'a self, id: &'a str) -> Standing<'a> {
        Box::pin(async move {
            if !self.gate().is_on() {
                return None;
            }
            let mut ticket = self.gate().join(id, None);
            match ticket.called().await {
                Called::Turn(_) => Some(Box::new(ticket) as Box<dyn Turn + 'a>),
                Called::Stalled => None,
            }
        })
    }
}

/// An id for which a transaction has lost a race, and the line where those who lost one stand.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) collection: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) line: Arc<dyn Gated>,
}

/// The places of a transaction, in the one order in which all transactions take theirs: so none waits for one that waits
/// for it.
#[derive(Default)]
pub(super) struct Lines(Vec<Place>);

impl Lines {
    /// These and more; `None` where these are all of them, or enough.
    pub(super) fn with(&self, places: Vec<Place>) -> Option<Self> {
        let mut all = self.0.clone();
        for place in places {
            let key = (&place.collection, &place.id);
            if let Err(at) = all.binary_search_by(|held| (&held.collection, &held.id).cmp(&key))
                && all.len() < MOST_LINES
            {
                all.insert(at, place);
            }
        }
        (all.len() > self.0.len()).then_some(Self(all))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for all turns. `None` where the deadline of the call passes before.
    pub(super) async fn stand(&self, call: &Call<'_>) -> Option<Vec<Box<dyn Turn + '_>>> {
        let mut turns = Vec::new();
        for place in &self.0 {
            turns.extend(call.bound(place.line.stand(&place.id)).await?);
        }
        Some(turns)
    }
}
