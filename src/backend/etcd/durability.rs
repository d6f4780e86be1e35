//! Which acknowledged commits a cluster keeps, as far as its release tells.

use crate::store::Durability;

/// What a cluster of one node may lose whose release answers before it syncs.
const EARLY: Durability = Durability::Relaxed {
    may_lose: "the commits of the last moments, where the machine loses power: \
               a lone node of before 3.4.21 or 3.5.5 answers before it syncs",
};

/// What a cluster may lose whose release is not known.
pub(super) const UNTOLD: Durability = Durability::Relaxed {
    may_lose: "the commits of the last moments, where the machine loses power: \
               it does not tell its release, and some answer before they sync",
};

/// What a cluster keeps that so many nodes vote in, one of which is of this release.
pub(super) fn durability(release: &str, voters: usize) -> Durability {
    match parse(release) {
        None => UNTOLD,
        // Where there are more, another one's answer comes later than its own sync.
        Some(release) if voters == 1 && is_early(release) => EARLY,
        Some(_) => Durability::Strict,
    }
}

fn parse(release: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    Some((next()?, next()?, next()?))
}

/// Whether a release may answer before its own log is synced.
fn is_early(release: (u32, u32, u32)) -> bool {
    match release {
        (3, 5, patch) => patch < 5,
        (3, 4, patch) => patch < 21,
        (major, minor, _) => (major, minor) < (3, 4),
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
        for release in ["3.4.21", "3.4.23", "3.5.5", "3.6.0", "4.0.0", "3.6.0-alpha.0"] {
            assert_eq!(durability(release, 1), Durability::Strict, "{release}");
        }
    }

    #[test]
    fn a_release_that_nobody_knows_may_lose_what_any_may() {
        for release in ["", "unknown", "3.5", "3", "v3.5.9", "3.5.x", "3.-5.1", "3.99999999999.1"] {
            assert_eq!((durability(release, 1), durability(release, 3)), (UNTOLD, UNTOLD), "{release}");
        }
    }
}
