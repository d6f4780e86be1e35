//! Drafts that are merged on their way into the store.

use std::collections::BTreeMap;

use ifmatch::http::{self, Problem};
use ifmatch::merge::Strategy::Counter;
use ifmatch::merge::{Merge, Overlaps};
use ifmatch::store::Advice;
use ifmatch::{Collection, Conflict, Database, Error, Expected, Kind, Memory, Retry, conflict_in};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Settings {
    theme: String,
    volume: f32,
    starts: u32,
    more: BTreeMap<String, Value>,
}

fn settings() -> Collection<Settings> {
    let settings = Collection::in_memory();
    settings.create("ann", Settings::default()).wait().unwrap();
    settings
}

fn fine(_: &Settings) -> Result<(), Error> {
    Ok(())
}

fn set(theme: &str) -> impl Fn(&mut Settings) {
    move |settings| settings.theme = theme.to_owned()
}

#[test]
fn what_does_not_overlap_is_saved_together_and_the_draft_is_what_was_saved() {
    let settings = settings();
    let merge = Merge::new().at("/starts", Counter);
    let mut draft = settings.edit("ann").wait().unwrap();
    (draft.theme, draft.starts) = ("dark".to_owned(), 1);
    settings.modify("ann", |settings| (settings.volume, settings.starts) = (0.1, 1)).wait().unwrap();

    let saved = draft.commit_or_merge(&merge, fine).wait().unwrap();

    let expected = Settings { theme: "dark".to_owned(), volume: 0.1, starts: 2, ..Settings::default() };
    assert_eq!(*saved.value, expected);
    assert_eq!(settings.fetch("ann").wait().unwrap(), saved);
    assert_eq!((draft.base(), &*draft), (&saved, &expected));
    assert_eq!(draft.commit().wait().unwrap(), saved, "there is nothing left to write");
}

#[test]
fn an_overlap_is_a_conflict_with_its_paths_and_the_draft_is_as_it_was() {
    let settings = settings();
    let mut draft = settings.edit("ann").wait().unwrap();
    let base = draft.base().clone();
    (draft.theme, draft.starts) = ("mine".to_owned(), 1);
    let theirs = settings.modify("ann", set("theirs")).wait().unwrap();

    let error = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap_err();

    let overlaps = Overlaps::of(&error).unwrap();
    let [overlap] = overlaps.list() else { panic!("{overlaps:?}") };
    let sides = [&overlap.base, &overlap.mine, &overlap.theirs].map(|side| side.clone().unwrap());
    assert_eq!((&*overlap.pointer, sides), ("/theme", ["", "mine", "theirs"].map(Value::from)));
    let conflict = error.conflict().unwrap();
    assert_eq!((conflict.kind(), conflict.retry()), (&Kind::Stale, Advice::Merge));
    assert_eq!((conflict.expected(), conflict.found()), (Expected::from(&base), Some(theirs.version)));
    assert_eq!(conflict.current::<Settings>().unwrap(), theirs);
    assert!(!format!("{error} {error:?} {conflict}").contains("mine"));
    assert!(conflict.to_string().ends_with("; both sides changed the same place"), "{conflict}");
    let problem = Problem::new(error);
    assert_eq!((problem.status(), problem.reason(), problem.retry()), (409, "stale", Advice::Merge));
    assert_eq!(serde_json::to_value(&problem).unwrap()["conflicting_paths"], json!(["/theme"]));

    assert_eq!((draft.base(), &*draft.theme), (&base, "mine"));
    assert_eq!(settings.fetch("ann").wait().unwrap(), theirs);
}

#[test]
fn what_was_settled_is_saved_with_all_that_did_not_overlap() {
    let settings = settings();
    let merge = Merge::new();
    let mut draft = settings.edit("ann").wait().unwrap();
    (draft.theme, draft.volume) = ("mine".to_owned(), 0.7);
    settings
        .modify("ann", |settings| (settings.theme, settings.starts) = ("theirs".to_owned(), 9))
        .wait()
        .unwrap();

    let mut asked = 0;
    while let Err(error) = draft.commit_or_merge(&merge, fine).wait() {
        let Error::Conflict(conflict) = error else { panic!("{error}") };
        asked += 1;
        // While somebody decides, others go on.
        settings.modify("ann", |settings| settings.starts += 1).wait().unwrap();
        draft.settle(conflict, |overlap| overlap.mine.clone()).unwrap();
    }

    assert_eq!(asked, 1);
    let expected = Settings { theme: "mine".to_owned(), volume: 0.7, starts: 10, ..Settings::default() };
    assert_eq!(*settings.fetch("ann").wait().unwrap().value, expected);
}

#[test]
fn only_an_overlap_of_the_drafts_own_resource_can_be_settled() {
    let settings = settings();
    settings.create("bob", Settings::default()).wait().unwrap();
    let mut draft = settings.edit("ann").wait().unwrap();
    draft.theme = "mine".to_owned();
    settings.modify("ann", set("theirs")).wait().unwrap();
    let mut other = settings.edit("bob").wait().unwrap();
    other.theme = "mine".to_owned();
    settings.modify("bob", set("theirs")).wait().unwrap();
    let before = draft.base().clone();

    let no_overlap = draft.commit().wait().unwrap_err();
    let of_another = other.commit_or_merge(&Merge::new(), fine).wait().unwrap_err();
    for error in [no_overlap, of_another] {
        let Error::Conflict(conflict) = error else { panic!("{error}") };
        let id = conflict.id().to_owned();
        let refused = draft.settle(conflict, |overlap| overlap.mine.clone()).unwrap_err();
        assert_eq!(refused.conflict().unwrap().id(), id);
    }
    let Err(Error::Conflict(conflict)) = draft.commit_or_merge(&Merge::new(), fine).wait() else { panic!() };
    let unfit = draft.settle(conflict, |_| Some(json!(7))).unwrap_err();

    assert_eq!((http::status(&unfit), http::reason(&unfit)), (422, "unfit-change"));
    assert!(unfit.to_string().contains("`/theme`"), "{unfit}");
    assert_eq!((draft.base(), &*draft.theme), (&before, "mine"));
}

#[test]
fn a_merge_does_not_bring_back_what_was_deleted() {
    let settings = settings();
    let mut draft = settings.edit("ann").wait().unwrap();
    draft.theme = "dark".to_owned();
    settings.delete("ann", Expected::Present).wait().unwrap();

    let error = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap_err();

    assert_eq!(error.conflict().map(Conflict::kind), Some(&Kind::Deleted));
    assert!(Overlaps::of(&error).is_none() && settings.get("ann").wait().unwrap().is_none());

    // Another one was created in its place: that is what the draft is merged with.
    settings.create("ann", Settings { starts: 3, ..Settings::default() }).wait().unwrap();
    let saved = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap();
    assert_eq!((&*saved.value.theme, saved.value.starts), ("dark", 3));
}

#[test]
fn a_draft_with_nothing_of_its_own_takes_over_what_is_stored() {
    let settings = settings();
    let mut draft = settings.edit("ann").wait().unwrap();
    assert_eq!(
        draft.commit_or_merge(&Merge::new(), fine).wait().unwrap(),
        settings.fetch("ann").wait().unwrap()
    );
    let theirs = settings.modify("ann", set("theirs")).wait().unwrap();

    let saved = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap();

    assert_eq!((&saved, draft.base(), &*draft.theme), (&theirs, &theirs, "theirs"));
    assert_eq!(settings.fetch("ann").wait().unwrap(), theirs);
}

#[derive(Debug, thiserror::Error)]
enum Own {
    #[error("too loud")]
    TooLoud,
    #[error(transparent)]
    Store(#[from] Error),
}

#[test]
fn what_is_fine_by_itself_may_be_refused_together() {
    let settings = settings();
    let quiet = |settings: &Settings| match settings.theme == "night" && settings.volume > 0.5 {
        true => Err(Own::TooLoud),
        false => Ok(()),
    };
    let mut draft = settings.edit("ann").wait().unwrap();
    draft.theme = "night".to_owned();
    let theirs = settings.modify("ann", |settings| settings.volume = 1.0).wait().unwrap();

    let refused = draft.commit_or_merge(&Merge::new(), quiet).wait();

    assert!(matches!(refused, Err(Own::TooLoud)), "{refused:?}");
    assert_eq!(settings.fetch("ann").wait().unwrap(), theirs);
    // It is decided anew where what it was decided on is gone.
    let mut looks = 0;
    let looking = |merged: &Settings| {
        looks += 1;
        if looks == 2 {
            settings.modify("ann", |settings| settings.volume = 0.2).wait().unwrap();
        }
        quiet(merged)
    };
    let saved = draft.commit_or_merge(&Merge::new(), looking).wait().unwrap();
    assert_eq!((&*saved.value.theme, looks), ("night", 3));
}

#[test]
fn a_race_that_is_always_lost_gives_up_with_the_last_conflict() {
    let settings = Collection::<Settings>::in_memory().with_retry(Retry::default().attempts(5));
    settings.create("ann", Settings::default()).wait().unwrap();
    let mut draft = settings.edit("ann").wait().unwrap();
    draft.theme = "dark".to_owned();

    let error = draft
        .commit_or_merge(&Merge::new(), |_| {
            settings.modify("ann", |settings| settings.starts += 1).wait().unwrap();
            Ok::<_, Error>(())
        })
        .wait()
        .unwrap_err();

    let conflict = error.conflict().unwrap();
    assert_eq!((conflict.attempts(), conflict.retry()), (5, Advice::Wait));
    assert_eq!((settings.fetch("ann").wait().unwrap().value.starts, &*draft.theme), (5, "dark"));
}

#[test]
fn a_rule_of_the_collection_is_no_overlap() {
    let database = Database::in_memory();
    let settings = database.define::<Settings>("settings").unwrap();
    let settings = settings
        .rule("quiet", "it is too loud", |_, new| new.is_none_or(|new| new.volume <= 0.5))
        .open()
        .unwrap();
    settings.create("ann", Settings::default()).wait().unwrap();
    let mut draft = settings.edit("ann").wait().unwrap();
    (draft.theme, draft.volume) = ("dark".to_owned(), 0.9);
    settings.modify("ann", |settings| settings.starts = 1).wait().unwrap();

    let error = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap_err();
    assert!(
        matches!(error.conflict().unwrap().kind(), Kind::State { rule, .. } if rule == "quiet"),
        "{error}"
    );

    draft.volume = 0.4;
    let saved = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap();
    assert_eq!((saved.value.volume, saved.value.starts), (0.4, 1));
    draft.theme = "mine".to_owned();
    settings.modify("ann", set("theirs")).wait().unwrap();
    let error = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap_err();
    assert_eq!(error.conflict().unwrap().collection(), Some("settings"));
    assert!(Overlaps::of(&error).is_some());
}

#[test]
fn overlaps_are_found_behind_a_programs_own_errors() {
    let settings = Collection::<Settings>::json(Memory::<[u8]>::new());
    settings.create("ann", Settings::default()).wait().unwrap();
    let mut draft = settings.edit("ann").wait().unwrap();
    draft.volume = 0.3;
    settings.modify("ann", |settings| settings.volume = 0.1).wait().unwrap();

    let error = draft.commit_or_merge(&Merge::new(), |_| Ok::<_, Own>(())).wait().unwrap_err();

    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
    assert!(conflict_in(&*boxed).is_some());
    // An `f32` is what it is, and not its neighbour among the `f64`.
    assert_eq!(Overlaps::of(&*boxed).unwrap().list()[0].theirs, Some(json!(0.1)));
}

#[test]
fn what_was_changed_since_and_what_is_of_another_draft_is_not_settled_away() {
    let settings = settings();
    let overlap = |draft: &mut ifmatch::Draft<Settings>| {
        let Err(Error::Conflict(conflict)) = draft.commit_or_merge(&Merge::new(), fine).wait() else {
            panic!()
        };
        conflict
    };
    let mut draft = settings.edit("ann").wait().unwrap();
    let mut other = settings.edit("ann").wait().unwrap();
    draft.theme = "mine".to_owned();
    other.theme = "another".to_owned();
    settings.modify("ann", set("theirs")).wait().unwrap();

    let (of_draft, since) = (overlap(&mut draft), overlap(&mut draft));
    assert!(other.settle(of_draft, |overlap| overlap.mine.clone()).is_err());
    draft.volume = 0.9;
    assert!(draft.settle(since, |overlap| overlap.mine.clone()).is_err());

    assert_eq!((&*other.theme, &*draft.theme, draft.volume), ("another", "mine", 0.9));
    let conflict = overlap(&mut draft);
    draft.settle(conflict, |overlap| overlap.mine.clone()).unwrap();
    let saved = draft.commit_or_merge(&Merge::new(), fine).wait().unwrap();
    assert_eq!((&*saved.value.theme, saved.value.volume), ("mine", 0.9));
}

#[test]
fn a_list_that_its_type_bounds_is_asked_about_as_a_whole() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(try_from = "Vec<String>", into = "Vec<String>")]
    struct Tags(Vec<String>);
    impl TryFrom<Vec<String>> for Tags {
        type Error = &'static str;
        fn try_from(tags: Vec<String>) -> Result<Self, &'static str> {
            if tags.len() <= 3 { Ok(Self(tags)) } else { Err("at most three") }
        }
    }
    impl From<Tags> for Vec<String> {
        fn from(tags: Tags) -> Self {
            tags.0
        }
    }
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Note {
        tags: Tags,
    }
    let note = |tags: &[&str]| Note { tags: Tags(tags.iter().map(|tag| (*tag).to_owned()).collect()) };
    let merge = Merge::new().at("/tags", ifmatch::merge::Strategy::Set);

    let unmerged = merge.typed(&note(&["a"]), &note(&["a", "m"]), &note(&["a", "t", "u"])).unwrap_err();

    let ifmatch::merge::Unmerged::Overlaps(overlaps) = unmerged else { panic!("{unmerged:?}") };
    assert_eq!(overlaps.pointers().collect::<Vec<_>>(), ["/tags"]);
    let settled = overlaps.settle_as::<Note>(|overlap| overlap.mine.clone()).unwrap();
    assert_eq!(settled, note(&["a", "m"]));
}
