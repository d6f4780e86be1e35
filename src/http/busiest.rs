//! [`Busiest`], the ids that most conflicts are about.

/// How many ids are kept.
const KEPT: usize = 64;

/// The ids that most conflicts are about, in constant memory: the Space-Saving algorithm of Metwally, Agrawal and El Abbadi,
/// "Efficient Computation of Frequent and Top-k Elements in Data Streams" (2005), §3. An id with more than a 64th of all
/// conflicts is always among them.
#[derive(Default)]
pub(super) struct Busiest(Vec<Busy>);

/// An id that conflicts are about; from [`Tally::busiest`](crate::http::Tally::busiest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// The id, behind the name of its collection and a slash where it has one.
    pub id: Box<str>,
    /// How many conflicts it had, at most.
    pub conflicts: u64,
    /// How many of those may have been of ids that were forgotten for it.
    pub uncertain: u64,
}

impl Busiest {
    pub(super) fn count(&mut self, collection: Option<&str>, id: &str, times: u64) {
        let named = |busy: &Busy| match collection {
            Some(collection) => {
                busy.id.strip_prefix(collection).and_then(|rest| rest.strip_prefix('/')) == Some(id)
            }
            None => *busy.id == *id,
        };
        if let Some(busy) = self.0.iter_mut().find(|busy| named(busy)) {
            busy.conflicts += times;
            return;
        }
        let id = collection.map_or_else(|| id.into(), |collection| format!("{collection}/{id}").into());
        if self.0.len() < KEPT {
            return self.0.push(Busy { id, conflicts: times, uncertain: 0 });
        }
        let least = self.0.iter_mut().min_by_key(|busy| busy.conflicts).expect("there are 64");
        *least = Busy { id, conflicts: least.conflicts + times, uncertain: least.conflicts };
    }

    /// The busiest first.
    pub(super) fn sorted(&self) -> Vec<Busy> {
        let mut busiest = self.0.clone();
        busiest.sort_by(|one, other| other.conflicts.cmp(&one.conflicts).then_with(|| one.id.cmp(&other.id)));
        busiest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_id_is_found_among_any_number_of_others() {
        let mut busiest = Busiest::default();

        for turn in 0..100_000 {
            match turn % 20 {
                0 => busiest.count(Some("articles"), "hot", 1),
                _ => busiest.count(None, &turn.to_string(), 1),
            }
        }

        let found = busiest.sorted();
        let hot = found.iter().find(|busy| &*busy.id == "articles/hot").expect("a twentieth of all");
        assert_eq!(found.len(), KEPT);
        assert!(hot.conflicts >= 5_000 && hot.conflicts - hot.uncertain <= 5_000, "{hot:?}");
    }

    #[test]
    fn few_ids_are_counted_exactly_and_the_busiest_comes_first() {
        let mut busiest = Busiest::default();

        for (id, times) in [("a", 2), ("b", 5), ("c", 1)] {
            (1..times).for_each(|_| busiest.count(None, id, 1));
            busiest.count(None, id, 1);
        }
        busiest.count(Some("c"), "b", 3);

        let counts: Vec<_> =
            busiest.sorted().into_iter().map(|busy| (busy.id, busy.conflicts, busy.uncertain)).collect();
        let expected =
            [("b", 5), ("c/b", 3), ("a", 2), ("c", 1)].map(|(id, times)| (Box::from(id), times, 0));
        assert_eq!(counts, expected);
    }
}
