//! A service that is killed between request and answer, over the file.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ifmatch::http::{self, Keys, Preconditions};
use ifmatch::{Collection, Database, Error, File};

use crate::file::Directory;

/// How many children are killed, unless the variable `IFMATCH_KILLS` says otherwise.
const KILLS: u64 = 100;

const CLIENTS: u64 = 16;

/// The variables that make a test process the child of the harness: its file, and the first of its keys.
const CHILD: &str = "IFMATCH_ONCE_CHILD";
const FIRST: &str = "IFMATCH_ONCE_FIRST";

/// What somebody did under a key, with which payload: one for each time that it was applied.
type Done = (u64, u64);

struct Service {
    keys: Keys,
    done: Collection<Done>,
    lists: Collection<Vec<Done>>,
}

impl Service {
    fn open(path: &Path) -> Self {
        let database = Database::new(File::open(path).unwrap());
        Self {
            keys: Keys::new(&database, "keys").unwrap(),
            done: database.collection("done").unwrap(),
            lists: database.collection("lists").unwrap(),
        }
    }

    /// A request with a key and a payload: status and entity tag of its answer. None of them could be sent twice without.
    fn ask(&self, key: u64, payload: u64, drawn: &str) -> (u16, String) {
        let mut request = Preconditions::from_headers([("Idempotency-Key", format!("\"k{key}\""))]);
        let taken = request.take_key().unwrap().unwrap();
        let keyed = taken.request("ann", "POST", "/", &payload.to_le_bytes());
        let told = |status, headers: Vec<(&str, String)>| {
            let shown =
                |name| headers.iter().find(|(given, _)| *given == name).map_or("-", |(_, value)| value);
            (status, format!("{}{}", shown("etag"), shown("location")))
        };
        let answer = if key.is_multiple_of(2) {
            let create =
                |done: Collection<Done>| async move { done.create_if(drawn, &request, (key, payload)).await };
            let answer = self.keys.once::<_, Error, _>(Some(keyed), &self.done, create).wait();
            answer.map(|answer| told(answer.status(), answer.at("/done").headers()))
        } else {
            let list = (key % 8).to_string();
            let push = |lists: Collection<Vec<Done>>| async move {
                lists.modify_if(&list, &request, |list| list.push((key, payload))).await
            };
            let answer = self.keys.once::<_, Error, _>(Some(keyed), &self.lists, push).wait();
            answer.map(|answer| told(answer.status(), answer.headers()))
        };
        answer.unwrap_or_else(|error| (http::status(&error), http::reason(&error).to_owned()))
    }
}

/// Lets clients ask for ever, several under each key and with two payloads, and tells of each answer.
fn ask_for_ever(path: &Path, first: u64) {
    let service = Service::open(path);
    (0..8).for_each(|list| drop(service.lists.create(&list.to_string(), Vec::new()).wait()));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let service = &service;
            scope.spawn(move || {
                for key in first.. {
                    let payload = (client + key) % 2;
                    println!("asks {key} {payload} .");
                    let (status, told) = service.ask(key, payload, &format!("{key}-{client}"));
                    println!("told {key} {payload} {status} {told} .");
                }
            });
        }
    });
}

/// Not a test of its own: what the harness below starts and kills.
#[test]
fn the_child_of_the_harness() {
    if let Some(path) = std::env::var_os(CHILD) {
        ask_for_ever(Path::new(&path), std::env::var(FIRST).unwrap().parse().unwrap());
    }
}

/// What was answered to which key and payload.
type Answers = HashMap<(u64, u64), (u16, String)>;

/// Notes an answer, which has to be that which was given before.
fn note(answers: &mut Answers, key: u64, payload: u64, answer: (u16, String)) {
    assert!(matches!(answer.0, 200 | 201 | 422), "key {key}: {answer:?}");
    let before = answers.entry((key, payload)).or_insert_with(|| answer.clone());
    assert_eq!(*before, answer, "key {key} with payload {payload}");
}

/// Starts a child, kills it after a while, and notes what it told. It gives the keys that it asked with.
fn kill_a_child(path: &Path, first: u64, after: Duration, answers: &mut Answers) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "once::killed::the_child_of_the_harness", "--nocapture"])
        .env(CHILD, path)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut asked = Vec::new();
    thread::scope(|scope| {
        let (working, works) = mpsc::channel();
        scope.spawn(move || {
            // Also where it never said that it works: then the lines have ended.
            let _ = works.recv();
            thread::sleep(after);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in lines {
            let line = line.unwrap();
            // The last line may have been cut.
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["asks", key, payload, "."] => {
                    asked.push((key.parse().unwrap(), payload.parse().unwrap()));
                    let _ = working.send(());
                }
                ["told", key, payload, status, told, "."] => {
                    let answer = (status.parse().unwrap(), told.to_owned());
                    note(answers, key.parse().unwrap(), payload.parse().unwrap(), answer);
                }
                _ => {}
            }
        }
    });
    asked
}

#[test]
fn each_key_is_applied_once_and_every_repeat_is_answered_alike_whatever_is_killed() {
    let kills = std::env::var("IFMATCH_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let directory = Directory::new();
    let path = directory.file();
    let (mut answers, mut first, mut in_doubt) = (Answers::new(), 0, 0);
    for kill in 0..kills {
        let after = Duration::from_micros(kill * 7919 % 30_000);
        let mut asked = kill_a_child(&path, first, after, &mut answers);
        asked.sort_unstable();
        asked.dedup();

        // All of it again, the payload that lost its race first.
        let service = Service::open(&path);
        for (key, payload) in asked.iter().rev() {
            in_doubt += u64::from(!answers.contains_key(&(*key, *payload)));
            for payload in [*payload, 1 - *payload] {
                let answer = service.ask(*key, payload, &format!("{key}-again-{payload}-{kill}"));
                note(&mut answers, *key, payload, answer);
            }
            first = first.max(key + 1);
        }
    }

    let service = Service::open(&path);
    let mut applied: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut apply = |(key, payload): Done| applied.entry(key).or_default().push(payload);
    let mut pages = service.done.list("");
    while let Some(page) = pages.next().wait().unwrap() {
        page.items.iter().for_each(|(_, done)| apply(*done.value));
    }
    (0..8).for_each(|list| {
        service.lists.fetch(&list.to_string()).wait().unwrap().value.iter().copied().for_each(&mut apply)
    });
    assert_eq!(applied.len() as u64, first, "each key that was asked with");
    for (key, payloads) in &applied {
        let [payload] = payloads[..] else { panic!("key {key} was applied {} times", payloads.len()) };
        assert!(answers[&(*key, payload)].0 < 300, "key {key}");
        assert_eq!(answers[&(*key, 1 - payload)].0, 422, "key {key}");
    }
    println!("{kills} kills, {first} keys, {in_doubt} requests without an answer");
    assert!(in_doubt > 0 || kills < 10, "no child was killed between a request and its answer");
}
