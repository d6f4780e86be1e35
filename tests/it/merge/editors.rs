//! Eight people write one article at once: each word of theirs is in it at the end, or was shown to somebody as an overlap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ifmatch::history::History;
use ifmatch::http::Expose;
use ifmatch::merge::Merge;
use ifmatch::merge::Strategy::{Counter, Keyed, Lines, Set};
use ifmatch::web::resource;
use ifmatch::{Collection, Database, Error, Retry};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dice::Dice;
use crate::serving::{Client, Serving, Told};

const EDITORS: u64 = 8;
const ROUNDS: u64 = 1_250;

/// How many words stand in one place before the oldest are taken out.
const MOST: usize = 24;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Article {
    title: String,
    text: String,
    tags: Vec<String>,
    /// One for each editor, and one for all.
    sections: Vec<Section>,
    views: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Section {
    name: u64,
    body: String,
}

fn merge() -> Merge {
    Merge::new().at("/text", Lines).at("/tags", Set).at("/sections", Keyed("name")).at("/views", Counter)
}

/// What became of the words that are not in the article any more.
#[derive(Default)]
struct Fates {
    /// They were shown to an editor, who chose the other side.
    dropped: Mutex<BTreeSet<String>>,
    /// An editor saw them, and took them out.
    taken: Mutex<BTreeSet<String>>,
    overlaps: AtomicU64,
    settled: AtomicU64,
}

impl Fates {
    /// What an editor takes of two that overlap.
    fn chosen(&self, dice: &mut Dice, mine: &Option<Value>, theirs: &Option<Value>) -> Option<Value> {
        let chosen = if dice.below(2) == 0 { mine.clone() } else { theirs.clone() };
        let kept = chosen.as_ref().map(words_in).unwrap_or_default();
        let sides = [mine, theirs].into_iter().flatten();
        self.dropped.lock().extend(sides.flat_map(words_in).filter(|word| !kept.contains(word)));
        chosen
    }
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(str::to_owned)
}

/// Every word of a JSON value.
fn words_in(value: &Value) -> BTreeSet<String> {
    let text =
        value.to_string().replace(|character: char| !character.is_alphanumeric() && character != '_', " ");
    // A line ends in `\n`, of which the escape leaves an `n`.
    words(&text.replace(" n", " ")).chain(words(&text)).collect()
}

/// Adds a word, and takes out the oldest ones where there are too many.
fn add(text: &mut String, word: &str, separator: &str) -> Vec<String> {
    let mut all: Vec<&str> = text.split_whitespace().collect();
    let taken: Vec<String> = match all.len() > MOST {
        true => all.drain(..MOST / 2).map(str::to_owned).collect(),
        false => Vec::new(),
    };
    all.push(word);
    *text = all.into_iter().map(|word| format!("{word}{separator}")).collect();
    taken
}

/// One editor's edit with a word of its own, and the words that it takes out.
fn edit(dice: &mut Dice, editor: u64, article: &mut Article, word: &str) -> Vec<String> {
    article.views += 1;
    match dice.below(5) {
        // Overlaps with whoever does the same.
        0 => add(&mut article.title, word, " "),
        1 => {
            let shared = article.sections.last_mut().expect("the section of all");
            add(&mut shared.body, word, " ")
        }
        // At the end of a text, as everybody: lines that touch.
        2 => add(&mut article.text, word, "\n"),
        3 => {
            article.tags.push(word.to_owned());
            match article.tags.len() > MOST {
                true => article.tags.drain(..MOST / 2).collect(),
                false => Vec::new(),
            }
        }
        _ => {
            let own = article.sections.iter_mut().find(|section| section.name == editor);
            add(&mut own.expect("each has a section").body, word, " ")
        }
    }
}

fn merging(articles: &Collection<Article>, dice: &mut Dice, editor: u64, word: &str, fates: &Fates) {
    let merge = merge();
    let mut draft = articles.edit("a").wait().unwrap();
    let taken = edit(dice, editor, &mut draft, word);
    // Somebody else gets a turn, as while a person types.
    thread::yield_now();
    while let Err(error) = draft.commit_or_merge(&merge, |_| Ok::<_, Error>(())).wait() {
        let Error::Conflict(conflict) = error else { panic!("{error}") };
        fates.overlaps.fetch_add(1, Ordering::Relaxed);
        let settled = draft.settle(conflict, |overlap| fates.chosen(dice, &overlap.mine, &overlap.theirs));
        settled.unwrap();
        fates.settled.fetch_add(1, Ordering::Relaxed);
    }
    fates.taken.lock().extend(taken);
}

/// The control: what it read is a state of the past when it writes.
fn overwriting(articles: &Collection<Article>, dice: &mut Dice, editor: u64, word: &str, fates: &Fates) {
    let mut article = (*articles.fetch("a").wait().unwrap().value).clone();
    let taken = edit(dice, editor, &mut article, word);
    thread::yield_now();
    articles.put("a", article).wait().unwrap();
    fates.taken.lock().extend(taken);
}

/// Where the article is begun.
fn begun(articles: Collection<Article>) -> Collection<Article> {
    let patient = Retry::default().attempts(u32::MAX).deadline(Duration::from_secs(600));
    let articles = articles.with_retry(patient);
    let sections = (0..=EDITORS).map(|name| Section { name, body: String::new() }).collect();
    articles.create("a", Article { sections, ..Article::default() }).wait().unwrap();
    articles
}

/// A client, and the article as it was told it last.
struct Page {
    client: Client,
    article: Article,
    tag: String,
}

impl Page {
    fn put(&mut self, how: &str, article: &impl Serialize) -> Told {
        let headers = [("content-type", "application/json".to_owned()), (how, self.tag.clone())];
        self.client.ask("PUT", "/articles/a", &headers, &serde_json::to_string(article).unwrap())
    }

    /// Saves an edit that was made of what it shows, which may be old.
    fn save(&mut self, dice: &mut Dice, editor: u64, word: &str, fates: &Fates) {
        let mut mine = self.article.clone();
        let taken = edit(dice, editor, &mut mine, word);
        // What is counted overlaps here, whatever else does.
        mine.views = self.article.views;
        let mut told = self.put("merge-base", &mine);
        while told.status != 200 {
            let problem: Value = serde_json::from_str(&told.body).unwrap();
            assert_eq!((told.status, &problem["retry"]), (409, &"merge".into()), "{problem}");
            fates.overlaps.fetch_add(1, Ordering::Relaxed);
            let mut settled = problem["merged"].clone();
            for overlap in problem["overlaps"].as_array().unwrap() {
                let side = |name| overlap.get(name).cloned();
                // Nothing is removed whole here, so a choice is always of two.
                let chosen = fates.chosen(dice, &side("mine"), &side("theirs")).unwrap();
                *settled.pointer_mut(overlap["pointer"].as_str().unwrap()).unwrap() = chosen;
            }
            // From here on it is made of what it was shown.
            self.tag = problem["current_etag"].as_str().unwrap().to_owned();
            told = self.put("merge-base", &settled);
            fates.settled.fetch_add(1, Ordering::Relaxed);
        }
        self.tag = told.header("etag").unwrap().to_owned();
        self.article = serde_json::from_str(&told.body).unwrap();
        fates.taken.lock().extend(taken);
    }
}

/// The words that are lost when all have gone home, and the fates of the others.
fn lost(
    articles: &Collection<Article>,
    save: impl Fn(&mut Dice, u64, &str, &Fates) + Sync,
) -> (BTreeSet<String>, Fates, Article) {
    let fates = Fates::default();
    thread::scope(|scope| {
        for editor in 0..EDITORS {
            let (save, fates) = (&save, &fates);
            scope.spawn(move || {
                let mut dice = Dice::new(editor);
                for round in 0..ROUNDS {
                    save(&mut dice, editor, &format!("w{editor}_{round}"), fates);
                }
            });
        }
    });
    let article = (*articles.fetch("a").wait().unwrap().value).clone();
    let present = words_in(&serde_json::to_value(&article).unwrap());
    let all = (0..EDITORS).flat_map(|editor| (0..ROUNDS).map(move |round| format!("w{editor}_{round}")));
    let known = |word: &String| {
        present.contains(word) || fates.dropped.lock().contains(word) || fates.taken.lock().contains(word)
    };
    (all.filter(|word| !known(word)).collect(), fates, article)
}

#[test]
fn no_word_of_eight_editors_is_lost_in_ten_thousand_rounds() {
    let articles = begun(Collection::in_memory());
    let (lost, fates, article) =
        lost(&articles, |dice, editor, word, fates| merging(&articles, dice, editor, word, fates));

    assert!(lost.is_empty(), "{} words: {lost:?}", lost.len());
    // No view is either, as they are counted, and nothing stands there twice.
    assert_eq!(article.views, EDITORS * ROUNDS);
    let tags: BTreeSet<&String> = article.tags.iter().collect();
    assert_eq!(tags.len(), article.tags.len());
    let sections: BTreeMap<u64, &str> = article.sections.iter().map(|it| (it.name, &*it.body)).collect();
    assert_eq!((sections.len(), article.sections.len()), (EDITORS as usize + 1, EDITORS as usize + 1));
    let overlaps = fates.overlaps.load(Ordering::Relaxed);
    assert!(overlaps > 20, "{overlaps} overlaps: nobody was in anybody's way");
    assert_eq!(fates.settled.load(Ordering::Relaxed), overlaps);
}

#[test]
fn nor_is_one_of_eight_pages_that_ask_for_a_merge() {
    let office = Database::in_memory();
    let history = History::new(&office, "articles.history").unwrap().keeping(400).within(16 * 1024 * 1024);
    let articles = office.define::<Article>("articles").unwrap().recorded(&history).open().unwrap();
    let articles = begun(articles);
    let routes = resource("/articles", articles.clone()).merging(merge(), &history).expose(Expose::Full);
    let serving = Serving::new(axum::Router::new().nest_service("/articles", routes));
    let pages: Vec<Mutex<Page>> = (0..EDITORS)
        .map(|_| {
            let mut client = serving.client();
            let told = client.ask("GET", "/articles/a", &[], "");
            let tag = told.header("etag").unwrap().to_owned();
            Mutex::new(Page { client, article: serde_json::from_str(&told.body).unwrap(), tag })
        })
        .collect();

    let (lost, fates, _) = lost(&articles, |dice, editor, word, fates| {
        pages[editor as usize].lock().save(dice, editor, word, fates);
    });

    assert!(lost.is_empty(), "{} words: {lost:?}", lost.len());
    let overlaps = fates.overlaps.load(Ordering::Relaxed);
    assert!(overlaps > 20, "{overlaps} overlaps: nobody was in anybody's way");
}

#[test]
fn editors_who_overwrite_lose_words() {
    let articles = begun(Collection::in_memory());
    let (lost, ..) =
        lost(&articles, |dice, editor, word, fates| overwriting(&articles, dice, editor, word, fates));

    assert!(lost.len() > 20, "{} words", lost.len());
}
