//! Which acknowledged commits a cluster keeps, as far as its release tells.

use crate::store::Durability;

/// What a cluster of one node may lose whose release answers before it syncs.
const EARLY: Durability = Durability::Relaxed {
    may_lose: "the commits of the last moments, where the machine loses power: \
               a lone node of before 3.4.21 or 3.5.5 answers before it syncs",
};

/// What a cluster may lose that does not tell its release.
pub(super) const UNTOLD: Durability =
    Durability::Relaxed { may_lose: "what a release that it does not tell may lose" };

/// What a cluster of so many nodes keeps, one of which is of this release.
pub(super) fn durability(release: &str, nodes: usize) -> Durability {
    if nodes == 1 && is_early(release) { EARLY } else { Durability::Strict }
}

/// Whether a release may answer before its own log is synced. Where there are more nodes, another one's answer comes later
/// than that.
fn is_early(release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    match (next(), next(), next()) {
        (Some(3), Some(5), Some(patch)) => patch < 5,
        (Some(3), Some(4), Some(patch)) => patch < 21,
        (Some(major), Some(minor), _) => (major, minor) < (3, 4),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_node_of_an_early_release_may_lose_commits() {
        for release in ["3.4.20", "3.5.0", "3.5.4", "3.3.27", "3.5.0-rc.1"] {
            assert_eq!(durability(release, 1), EARLY, "{release}");
            assert_eq!(durability(release, 3), Durability::Strict, "{release}");
        }
        for release in ["3.4.21", "3.4.23", "3.5.5", "3.6.0", "4.0.0", "", "unknown"] {
            assert_eq!(durability(release, 1), Durability::Strict, "{release}");
        }
    }
}
