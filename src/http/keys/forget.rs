//! How the answers of [`Keys`] are forgotten: those that are too many, and those that are too old.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::base::random;
use crate::http::keys::keys::Keys;
use crate::http::keys::request::{KeyedRequest, caller_of};
use crate::store::{Error, Reply, Version};

/// How many ids are read at once.
const PAGE: usize = 1_000;

/// How many answers are forgotten in one commit. An engine takes 128 entries.
const FORGOTTEN: usize = 64;

/// Among how many answers there is one after which those of a bound are looked at: so a look, which is at the ids of as many as the
/// bound, costs each answer 8 ids.
fn every(bound: usize) -> u64 {
    (bound as u64 / 8).max(1)
}

impl Keys {
    /// Forgets all answers that are too many or too old, and tells how many. [`once`](Self::once) does so by and by; a program that
    /// keeps answers by [`keep_in`](Self::keep_in) alone calls this now and then. It reads the ids of all answers.
    ///
    /// # Errors
    ///
    /// What the store fails with: some may be forgotten then.
    ///
    /// ```
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?;
    /// assert_eq!(keys.sweep().wait()?, 0);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn sweep(&self) -> Reply<'_, usize> {
        Reply::pending(async move {
            let (mut crowded, mut caller, mut answers) = (Vec::new(), String::new(), 0);
            let mut newest: Option<NonZeroU64> = None;
            let mut pages = self.records.list_ids("").page_size(PAGE);
            while let Some(page) = pages.next().await? {
                for (id, version) in &page.items {
                    newest = newest.max(Some(version.to_bits()));
                    if caller != caller_of(id) {
                        (caller, answers) = (caller_of(id).to_owned(), 0);
                    }
                    answers += 1;
                    if Some(answers) == self.each.checked_add(1) {
                        crowded.push(caller.clone());
                    }
                }
            }
            let old = newest.and_then(|newest| self.note(Version::from_bits(newest)));
            let mut forgotten = 0;
            for caller in &crowded {
                forgotten += self.forget_whole(caller, self.each, None).await?;
            }
            Ok(forgotten + self.forget_whole("", self.most, old).await?)
        })
    }

    /// After an answer to this request was kept, in the commit of this version: forgets what is due, now and then. By chance, since a
    /// count would be one of this process alone, and one for each caller.
    pub(super) async fn tidy(&self, request: &KeyedRequest, version: Option<Version>) {
        let old = version.and_then(|version| self.note(version));
        let is_due = |bound| random().is_multiple_of(every(bound));
        // What fails here is left to the next time: the answer is kept, and the error is not one of the write.
        if is_due(self.each) {
            drop(self.forget(request.caller(), self.each, None).await);
        }
        if old.is_some() || is_due(self.most) {
            drop(self.forget("", self.most, old).await);
        }
    }

    /// Notes that there is this version by now, and tells up to which all is too old, where that is news.
    fn note(&self, version: Version) -> Option<Version> {
        // The program's own clock, and not under the lock.
        let now = self.timer.now();
        self.marks.lock().note(now, version, self.lasts)
    }

    /// Forgets those of the answers whose ids begin with `prefix` that are more than `most`, the oldest first, and those up to
    /// `old`; no more at once than are remembered while it looks. A record is written once, so that its version
    /// is that of its commit, and the oldest is the lowest.
    async fn forget(&self, prefix: &str, most: usize, old: Option<Version>) -> Result<usize, Error> {
        let remembered = most / 4 + FORGOTTEN;
        let (mut answers, mut oldest) = (0, Vec::new());
        let mut pages = self.records.list_ids(prefix).page_size(PAGE);
        while let Some(page) = pages.next().await? {
            answers += page.items.len();
            oldest.extend(page.items);
            if oldest.len() > 2 * remembered {
                oldest.select_nth_unstable_by_key(remembered, |(_, version)| version.to_bits());
                oldest.truncate(remembered);
            }
        }
        oldest.sort_unstable_by_key(|(_, version)| version.to_bits());
        let excess = answers.saturating_sub(most);
        let is_due = |at: usize, version: Version| {
            at < excess || old.is_some_and(|old| version.to_bits() <= old.to_bits())
        };
        let due = (0..).zip(&oldest).take_while(|(at, (_, version))| is_due(*at, *version)).count();
        for due in oldest[..due].chunks(FORGOTTEN) {
            match self.forget_all(due).await {
                // Others forget too: what can go does.
                Err(Error::Conflict(_)) => {
                    for (id, version) in due {
                        self.forget_one(id, *version).await?;
                    }
                }
                done => done?,
            }
        }
        Ok(due)
    }

    async fn forget_whole(&self, prefix: &str, most: usize, old: Option<Version>) -> Result<usize, Error> {
        let mut forgotten = 0;
        loop {
            match self.forget(prefix, most, old).await? {
                0 => return Ok(forgotten),
                some => forgotten += some,
            }
        }
    }

    async fn forget_all(&self, due: &[(Arc<str>, Version)]) -> Result<(), Error> {
        let mut transaction = self.database.transaction();
        for (id, version) in due {
            transaction.check(&self.records, id, *version)?;
            transaction.delete(&self.records, id);
        }
        transaction.commit().await.map(drop)
    }

    /// Forgets one that others may have forgotten.
    async fn forget_one(&self, id: &str, version: Version) -> Result<(), Error> {
        match self.records.delete(id, version).await {
            Err(Error::Conflict(_)) => Ok(()),
            done => done.map(drop),
        }
    }
}
