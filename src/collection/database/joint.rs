//! [`Joint`], one commit of what several collections and their steps want.

use std::sync::Arc;

use crate::collection::database::ground::Ground;
use crate::collection::database::member::{Escort, Member};
use crate::collection::database::opaque::Opaque;
use crate::collection::database::part::Base;
use crate::collection::database::passage::{Clash, Passage, whole};
use crate::collection::database::rider::{Guarded, Rider};
use crate::collection::gate::{Called, Gate, Ticket};
use crate::collection::retry::Retry;
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Conflict, Entry, Error, Expected, Found, Intent, Kind,
    Listed, Mismatch, NEVER, ON_ITS_WAY, Page, Reply, Resolution, Scan, Start, Store, Version, Versioned,
    WriteId,
};

/// The store below a database, for commits over these collections: by full ids, through the steps of each.
pub(super) struct Joint {
    pub(super) ground: Arc<Ground>,
    pub(super) members: Vec<Arc<dyn Member>>,
    /// What rides along beside, with the write of one full id or of all.
    pub(super) escorts: Vec<(Option<String>, Escort)>,
    pub(super) deciding: Arc<Deciding>,
}

/// How those go on who decided on what somebody else then changed.
pub(super) struct Deciding {
    /// Whether commits apply in the order in which they are sent.
    queues: bool,
    /// Their lines, by full ids. They are none of the collections' own: whoever commits may stand in one of those already.
    lines: Gate<Opaque>,
    retry: Retry,
}

impl Deciding {
    pub(super) fn new(retry: Retry, abilities: &Abilities) -> Self {
        Self {
            queues: abilities.queues,
            lines: Gate::new(Arc::clone(retry.clock()), retry.longest_stall()),
            retry,
        }
    }

    /// Whether nobody stands in any line.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.lines.is_quiet()
    }

    /// A place in the line of a full id.
    #[cfg(all(test, feature = "json"))]
    pub(super) fn stand<'a>(&'a self, full_id: &'a str) -> Ticket<'a, Opaque> {
        self.lines.join(full_id, None)
    }
}

/// How far a commit has come before it is sent: it was decided on these, and its own entries have passed their steps.
pub(super) struct Begun {
    pub(super) bases: Vec<Base<Opaque>>,
    pub(super) passage: Passage,
}

/// Why a commit was not applied.
enum Stop {
    Error(Error),
    /// What steps decided on was changed by somebody else, while all that the caller expects holds: the conflict of that.
    Raced(Vec<Raced>, Error),
    /// Steps refused what they decided on before it was in its place.
    Early,
}

/// The caller's own entry that lost such a race, and what stands there now, where the answer told.
struct Raced {
    at: usize,
    now: Option<Versioned<Opaque>>,
}

impl Joint {
    /// Sends a commit, by full ids, through the steps of its collections as one commit of the store below. `begun` is how far it
    /// has come already.
    pub(super) async fn send(
        &self,
        commit: Commit<'_, Opaque>,
        begun: Option<Box<Begun>>,
    ) -> Result<Committed, Error> {
        if !self.has_steps() {
            let entries = commit.entries().len();
            let answer = self.ground.commit(commit).await;
            let answer = answer.and_then(|committed| Ok(committed.complete(entries)?));
            return answer.map_err(|error| shown(error, self.members.iter()));
        }
        // Steps see a check, and so have let no write pass.
        let commit = commit.without_renewal();
        let hot = commit.entries().iter().find(|entry| self.decides(entry)).map(|entry| entry.id);
        let passes = hot.filter(|_| self.passes(&commit));
        let (mut turn, mut passage) = (None, None);
        let mut bases = match begun {
            Some(begun) => {
                let Begun { bases, passage: begun } = *begun;
                passage = Some(begun);
                bases
            }
            None => {
                turn = match passes {
                    Some(id) => Some(self.deciding.lines.cut_in(id)),
                    None => hot.and_then(|id| self.deciding.lines.follow(id)),
                };
                // There is a line: what is read now would be stale when the turn comes.
                let handed = stand(&mut turn).await;
                self.read(&commit, handed, true).await?
            }
        };
        let mut lost = 0;
        loop {
            let ahead = passes.is_some() && lost == 0;
            let raced = match self.attempt(&commit, &bases, passage.take(), &mut turn, ahead).await {
                Ok(committed) => {
                    hand_on(turn, hot, &commit, &committed);
                    return Ok(committed);
                }
                Err(Stop::Error(error)) => {
                    turn.into_iter().for_each(|turn| turn.arrive(false));
                    return Err(error);
                }
                Err(Stop::Raced(raced, _)) => raced,
                // What it was decided on has its place in the store by now, or never will.
                Err(Stop::Early) => {
                    bases = self.read(&commit, None, false).await?;
                    continue;
                }
            };
            // Before all that may wait: nobody is to start from what was not applied.
            let passed = turn.take_if(|turn| turn.has_passed());
            passed.into_iter().for_each(|turn| turn.arrive(false));
            for Raced { at, now } in raced {
                bases[at] = match now {
                    Some(now) => Base::Read(Some(now)),
                    None => self.base(commit.entries()[at].id).await?,
                };
            }
            if lost > 0 || turn.is_some() || !self.deciding.lines.is_on() {
                // Whoever was faster is not in this line: once may be chance.
                let wait = self.deciding.retry.wait_after(lost);
                self.deciding.retry.clock().sleep(wait).await;
            }
            if let Some(id) = hot
                && turn.is_none()
                && lost == 0
                && self.deciding.lines.is_on()
            {
                let known = commit.entries().iter().position(|entry| entry.id == id);
                let known = known.and_then(|at| bases[at].known());
                let known = known.filter(|known| known.version != ON_ITS_WAY);
                turn = Some(self.deciding.lines.join(id, known));
                if let Some(handed) = stand(&mut turn).await {
                    // A store that knows nothing of what is on its way refuses it each time: once is enough.
                    bases = self.read(&commit, Some(handed), false).await?;
                }
            }
            lost += 1;
        }
    }

    /// Whether it is one blind write, decided on the value alone: nobody expects the version of that, and nobody beside has to
    /// hear of it.
    fn is_blind(&self, commit: &Commit<'_, Opaque>) -> bool {
        let [entry] = commit.entries() else { return false };
        entry.condition.expected == Expected::Any
            && self.escorts.is_empty()
            && self.decides(entry)
            && self.member(entry.id).is_some_and(|member| member.wants_value())
    }

    /// Whether the next one in line can start from what this commit puts while that is on its way to the store: a blind put, which
    /// has little to fail for.
    fn passes(&self, commit: &Commit<'_, Opaque>) -> bool {
        self.deciding.queues
            && self.deciding.lines.is_on()
            && matches!(commit.entries(), [Entry { action: Action::Put(_), .. }])
            && commit.fresh_write().is_some()
            && self.is_blind(commit)
    }

    /// Whether a commit has to pass anything.
    #[inline]
    pub(super) fn has_steps(&self) -> bool {
        !self.escorts.is_empty() || self.members.iter().any(|member| member.has_steps())
    }

    /// Whether a step decides on what this entry writes over.
    fn decides(&self, entry: &Entry<'_, Opaque>) -> bool {
        !matches!(entry.action, Action::Check)
            && self.member(entry.id).is_some_and(|member| member.wants_base())
    }

    /// The collection of a full id.
    pub(super) fn member(&self, full_id: &str) -> Option<&Arc<dyn Member>> {
        self.members.iter().find(|member| member.name().id_of(full_id).is_some())
    }

    /// What the entries write over, of those that are decided on. `handed` is that of the first one, unless the caller expects
    /// something else: then the caller may have seen what is newer, as not everybody stands in line. What is only on its way is
    /// taken by blind writes, where `ahead` lets them: its version is a number like others, which a caller may expect.
    async fn read(
        &self,
        commit: &Commit<'_, Opaque>,
        handed: Option<Versioned<Opaque>>,
        ahead: bool,
    ) -> Result<Vec<Base<Opaque>>, Error> {
        let may_take = |version| version != ON_ITS_WAY || (ahead && self.is_blind(commit));
        let mut handed = handed.filter(|handed| may_take(handed.version));
        let mut bases = Vec::with_capacity(commit.entries().len());
        for entry in commit.entries() {
            bases.push(match (self.decides(entry), handed.take_if(|_| self.decides(entry))) {
                (false, _) => Base::Unread,
                (true, Some(handed)) if entry.condition.expected.admits(Some(handed.version)) => {
                    Base::Read(Some(handed))
                }
                (true, _) => self.base(entry.id).await?,
            });
        }
        Ok(bases)
    }

    pub(super) async fn base(&self, full_id: &str) -> Result<Base<Opaque>, Error> {
        self.ground.get(full_id).await.map(Base::Read).map_err(|error| shown(error, self.members.iter()))
    }

    /// Sends the commit once, through all steps. Where it goes `ahead`, the next one in line starts while it is on its way.
    async fn attempt(
        &self,
        commit: &Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        begun: Option<Passage>,
        turn: &mut Option<Ticket<'_, Opaque>>,
        ahead: bool,
    ) -> Result<Committed, Stop> {
        let mut passage = match begun {
            Some(begun) => begun.with_riders(self, commit).await?,
            None => Passage::enter(self, commit, bases).await?,
        };
        let behind = turn.as_ref().and_then(|turn| turn.behind).filter(|_| is_ahead(bases));
        let (riders, refusals) = (std::mem::take(&mut passage.riders), std::mem::take(&mut passage.refusals));
        let (answer, places) = match whole(commit.clone(), bases, &riders) {
            Err(Clash::Twice(refusal)) => (Err(Stop::Error(refusal.into())), Vec::new()),
            Err(Clash::Expected(full_id)) => {
                (Err(self.refute(&full_id, commit, bases, &riders).await), Vec::new())
            }
            // What was not decided on what the caller expects must not be applied, even where that comes true meanwhile. One under a
            // write id may be known already, as its own first sending made what was read: so that is sent, to be answered where it is
            // known, and applied nowhere.
            Ok((mut whole, places))
                if refusals.is_empty()
                    && (commit.write().is_some() || unexpected(commit, bases).is_empty()) =>
            {
                let entries = whole.entries().len();
                for at in unexpected(commit, bases) {
                    whole.entries_mut()[at].condition.expected = Expected::Version(NEVER);
                }
                let reply = self.ground.commit(whole.with_behind(behind));
                if let Some(turn) = turn
                    && ahead
                    && reply.is_pending()
                    && riders.iter().all(Rider::only_checks)
                    && let ([Entry { action: Action::Put(value), .. }], Some(write)) =
                        (commit.entries(), commit.fresh_write())
                {
                    turn.pass(Arc::clone(value), write);
                }
                let answer = reply.await;
                let answer = answer.and_then(|committed| Ok(committed.complete(entries)?));
                (answer.map_err(|error| self.judge(error, commit, bases, &riders, false)), places)
            }
            // A refusal speaks of what stands: it waits for that, and looks.
            Ok((whole, places)) if behind.is_some() => {
                let checks = whole.into_entries().into_iter();
                let checks =
                    checks.map(|entry| Entry { action: Action::Check, ..entry }).collect::<Commit<'_, _>>();
                let _ = self.ground.commit(checks.with_behind(behind)).await;
                (Err(Stop::Early), places)
            }
            Ok((whole, places)) => (Err(self.refuse(refusals, whole, commit, bases, &riders).await), places),
        };
        let told = match &answer {
            Ok(committed) => Ok(committed),
            Err(Stop::Error(error) | Stop::Raced(_, error)) => Err(error),
            // It is decided anew: nobody hears of this time.
            Err(Stop::Early) => return Err(Stop::Early),
        };
        passage.end(&told, &places);
        answer.map(|committed| committed.first(commit.entries().len()))
    }

    /// What a commit comes to that steps refuse: they do so only if they decided on what stands, and the caller hears of all
    /// else that stands in the way too. So it is sent as checks alone.
    async fn refuse(
        &self,
        refusals: Vec<Mismatch>,
        whole: Commit<'_, Opaque>,
        commit: &Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        riders: &[Rider],
    ) -> Stop {
        let was_refused = !refusals.is_empty();
        let checks = whole.into_entries().into_iter().map(|entry| Entry { action: Action::Check, ..entry });
        let refused = |more: Vec<Mismatch>| {
            let all = Conflict::new(refusals.into_iter().chain(more));
            Stop::Error(all.expect("a refusal is a mismatch").into())
        };
        match self.ground.commit(checks.collect()).await {
            Ok(_) => match self.outrun(commit, bases, riders) {
                Some(stop) => stop,
                None => refused(Vec::new()),
            },
            Err(Error::Failed(failure)) => Stop::Error(failure.not_applied().into()),
            Err(error) => match self.judge(error, commit, bases, riders, was_refused) {
                Stop::Error(Error::Conflict(conflict)) => refused(conflict.into_mismatches()),
                other => other,
            },
        }
    }

    /// Where all that the caller expects holds, but did not when the steps decided: they have to decide anew.
    fn outrun(&self, commit: &Commit<'_, Opaque>, bases: &[Base<Opaque>], riders: &[Rider]) -> Option<Stop> {
        let raced = unexpected(commit, bases);
        let mismatches = raced.iter().map(|at| {
            let entry = &commit.entries()[*at];
            // It stands there no more: nobody is to keep it for what does.
            let found =
                bases[*at].known().map_or(Found::<Opaque>::Nothing, |base| Found::Unread(base.version));
            self.shown(Mismatch::new(entry.id, entry.condition, entry.intent(), found), riders)
        });
        let conflict = Conflict::new(mismatches.collect::<Vec<_>>())?;
        let raced = raced.into_iter().map(|at| Raced { at, now: None }).collect();
        Some(Stop::Raced(raced, conflict.into()))
    }

    /// What a commit comes to whose parts expect of one id what can't both hold: the look says whose fault that is.
    async fn refute(
        &self,
        full_id: &str,
        commit: &Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        riders: &[Rider],
    ) -> Stop {
        let found = match self.ground.get(full_id).await {
            Ok(found) => found.map_or(Found::Nothing, Found::Value),
            Err(error) => return Stop::Error(shown(error, self.members.iter())),
        };
        let mismatch = Mismatch::new(full_id, Expected::Any.into(), Intent::Check, found);
        self.judge(Conflict::from(mismatch).into(), commit, bases, riders, false)
    }

    /// Whose fault it is that the store refused a commit: of what was decided on, or of what the caller and the steps expect.
    /// Where steps refuse it too, that counts only if all of it was decided on what stands.
    fn judge(
        &self,
        error: Error,
        commit: &Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        riders: &[Rider],
        refused: bool,
    ) -> Stop {
        let members = self.members.iter().chain(riders.iter().map(|rider| &rider.member));
        let Error::Conflict(conflict) = error else { return Stop::Error(shown(error, members)) };
        let (mut raced, mut lost, mut fault) = (Vec::new(), Vec::new(), Vec::new());
        let mut outrun = false;
        for mismatch in conflict.into_mismatches() {
            // The store below has rules of its own.
            if mismatch.kind().is_refusal() {
                fault.push(self.shown(mismatch, riders));
                continue;
            }
            let there = standing(&mismatch);
            let own = commit.entries().iter().position(|entry| entry.id == mismatch.id());
            let mut at_fault = false;
            for rider in riders.iter().filter(|rider| rider.full_id == mismatch.id()) {
                outrun |= rider.base.is_not(there);
                if !rider.condition.expected.admits(there) {
                    fault.push(rider.told(again(&mismatch), |place| self.guarded(place, commit, riders)));
                    at_fault = true;
                }
            }
            if let Some(at) = own.filter(|at| bases.get(*at).is_some_and(|base| base.is_not(there))) {
                outrun = true;
                raced.push(Raced { at, now: mismatch.current() });
            }
            match own.map(|at| (at, commit.entries()[at].condition)) {
                Some((at, condition)) if !condition.expected.admits(there) => {
                    let intent = commit.entries()[at].intent();
                    fault.push(self.shown(mismatch.with_condition(condition).with_intent(intent), riders));
                }
                _ if at_fault => {}
                _ => lost.push(self.shown(mismatch, riders)),
            }
        }
        match (Conflict::new(fault), Conflict::new(lost)) {
            (Some(fault), _) if refused && outrun => Stop::Raced(raced, fault.into()),
            (Some(fault), _) => Stop::Error(fault.into()),
            (None, Some(lost)) => Stop::Raced(raced, lost.into()),
            (None, None) => unreachable!("a conflict has a mismatch"),
        }
    }

    /// The entry at this place, riders counted behind the caller's own, as what a check guards.
    fn guarded<'g>(
        &'g self,
        place: usize,
        commit: &'g Commit<'_, Opaque>,
        riders: &'g [Rider],
    ) -> Option<Guarded<'g>> {
        let Some(entry) = commit.entries().get(place) else {
            return riders.get(place - commit.entries().len()).map(Rider::guarded);
        };
        let name = self.member(entry.id)?.name();
        Some(Guarded { id: name.id_of(entry.id)?, collection: name.text(), intent: entry.intent() })
    }

    fn shown(&self, mismatch: Mismatch, riders: &[Rider]) -> Mismatch {
        let mut members = self.members.iter().chain(riders.iter().map(|rider| &rider.member));
        match members.find(|member| member.name().id_of(mismatch.id()).is_some()) {
            Some(member) => member.shown(mismatch),
            None => mismatch,
        }
    }
}

/// The entries that were decided on something else than the caller expects there.
fn unexpected(commit: &Commit<'_, Opaque>, bases: &[Base<Opaque>]) -> Vec<usize> {
    let is_unexpected = |(entry, base): (&Entry<'_, Opaque>, &Base<Opaque>)| match base {
        Base::Unread => false,
        Base::Read(base) => !entry.condition.expected.admits(base.as_ref().map(|base| base.version)),
    };
    let pairs = commit.entries().iter().zip(bases).map(is_unexpected);
    pairs.enumerate().filter(|(_, unexpected)| *unexpected).map(|(at, _)| at).collect()
}

/// Whether anything was decided on what is on its way to the store.
fn is_ahead(bases: &[Base<Opaque>]) -> bool {
    bases.iter().any(|base| matches!(base, Base::Read(Some(base)) if base.version == ON_ITS_WAY))
}

/// The version that stands where a mismatch was found, if a value does.
fn standing(mismatch: &Mismatch) -> Option<Version> {
    match mismatch.kind() {
        Kind::Missing | Kind::Deleted => None,
        _ => mismatch.found(),
    }
}

/// The same mismatch for another who has a part in it.
fn again(mismatch: &Mismatch) -> Mismatch {
    let found = match (mismatch.current::<Opaque>(), mismatch.kind(), mismatch.found()) {
        (Some(current), ..) => Found::Value(current),
        (None, Kind::Deleted, Some(version)) => Found::Deleted(version),
        (None, Kind::Missing, _) | (None, _, None) => Found::Nothing,
        (None, _, Some(version)) => Found::Unread(version),
    };
    Mismatch::new(mismatch.id(), mismatch.condition(), mismatch.intent(), found)
}

/// Waits for its turn, and gives what the one before it knew.
async fn stand(turn: &mut Option<Ticket<'_, Opaque>>) -> Option<Versioned<Opaque>> {
    match turn.as_mut()?.called().await {
        Called::Turn(handed) => handed,
        Called::Stalled => {
            *turn = None;
            None
        }
    }
}

/// Gives the next in line what stands there now.
fn hand_on(
    turn: Option<Ticket<'_, Opaque>>,
    hot: Option<&str>,
    commit: &Commit<'_, Opaque>,
    committed: &Committed,
) {
    let Some(mut ticket) = turn else { return };
    if ticket.has_passed() {
        return ticket.arrive(true);
    }
    let put = commit.entries().iter().zip(committed.receipts()).find(|(entry, _)| Some(entry.id) == hot);
    if let Some((Entry { action: Action::Put(value), .. }, receipt)) = put
        && let Some(version) = receipt.version
    {
        ticket.known = Some(Versioned { version, value: Arc::clone(value) });
    }
}

/// The error as those see it who use the collections.
#[cold]
pub(super) fn shown<'m>(error: Error, members: impl Iterator<Item = &'m Arc<dyn Member>> + Clone) -> Error {
    let of = |full: &str| members.clone().find(|member| member.name().id_of(full).is_some());
    match error {
        Error::Conflict(conflict) => Error::Conflict(conflict.map(|mismatch| match of(mismatch.id()) {
            Some(member) => member.shown(mismatch),
            None => mismatch,
        })),
        other => {
            other.map_ids(|full| of(full).and_then(|member| member.name().id_of(full)).unwrap_or(full).into())
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Store<Opaque> for Joint {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<Opaque>>> {
        self.ground.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, Opaque>) -> Reply<'a, Committed> {
        let sent = self.send(commit, None);
        if self.ground.is_prompt() { Reply::begin(sent) } else { Reply::pending(sent) }
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.ground.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<Opaque>>> {
        self.ground.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<Opaque>> {
        self.ground.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.ground.abilities()
    }
}
