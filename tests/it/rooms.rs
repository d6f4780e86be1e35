//! The rooms of `src/`: which there are, and which may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms that its code may name. A room names only rooms that stand above it in this list.
const ROOMS: [(&str, &[&str]); 15] = [
    ("base", &[]),
    ("store", &["base"]),
    ("codec", &["store"]),
    ("memory", &["base", "store"]),
    // Nothing of the other stores: it would be the first step to one that knows another.
    ("backend", &["base", "store"]),
    // The codec and the memory store for its constructors only: `Collection::json` and `Collection::in_memory`.
    ("collection", &["base", "store", "codec", "memory"]),
    // What a layer is to a collection of a database: a step of its commits.
    ("layer", &["base", "store", "collection"]),
    ("lease", &["store", "collection"]),
    // The JSON codec for what is over, which is kept as text.
    ("history", &["store", "codec", "collection"]),
    // The codec for the way of a value through its JSON and back.
    ("merge", &["store", "codec", "collection"]),
    ("table", &["store", "collection"]),
    // The JSON codec for patches only: they change the text of a value. Of the base the dice that say who forgets old answers.
    ("http", &["base", "store", "codec", "collection", "layer", "merge", "history"]),
    ("web", &["base", "store", "collection", "http", "merge", "history"]),
    // The timer of `collection`, which simulated time is one of. No store: the laws know only the contract.
    ("conformance", &["base", "store", "collection", "lease", "history", "merge"]),
    ("docs", &[]),
];

/// What is only built for tests, wherever it stands.
const FOR_TESTS: [&str; 4] = ["testing.rs", "probe.rs", "faults.rs", "faults"];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The files of Rust below a directory that are not only for tests.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if FOR_TESTS.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file: no comments, and nothing from its first module of tests on.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let opens = |next: &&str| next.trim_start().starts_with("mod ") && next.ends_with('{');
        if line.trim_start().starts_with("#[cfg(") && line.contains("test") && lines.peek().is_some_and(opens)
        {
            break;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// What stands after `crate::` at each place of a text, a list in braces included, up to the name of the room.
fn named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for path in code.split("crate::").skip(1) {
        let name = |text: &str| -> String {
            text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
        };
        match path.strip_prefix('{').and_then(|list| list.split_once("};")) {
            Some((list, _)) => {
                // Of `a::{b, c}, d` only `a` and `d` are names in the list itself.
                let mut depth = 0;
                for (at, character) in list.char_indices() {
                    depth += i32::from(character == '{') - i32::from(character == '}');
                    if depth == 0 && (at == 0 || character == ',') {
                        rooms.insert(name(list[at..].trim_start_matches(',').trim_start()));
                    }
                }
            }
            None => {
                rooms.insert(name(path));
            }
        }
    }
    // A hidden macro stands at the root, and is no room.
    rooms.retain(|name| !name.is_empty() && !name.starts_with("__"));
    rooms
}

/// Which rooms each room names, and in which file.
fn edges() -> BTreeMap<(String, String), PathBuf> {
    let mut found = Vec::new();
    files(&source(), &mut found);
    let mut edges = BTreeMap::new();
    for file in found {
        let inside = file.strip_prefix(source()).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        if room == "lib.rs" {
            continue;
        }
        for named in named(&code(&fs::read_to_string(&file).unwrap())) {
            if named != room {
                edges.insert((room.clone(), named), inside.to_owned());
            }
        }
    }
    edges
}

#[test]
fn each_entry_of_the_source_is_a_room_that_is_listed() {
    let mut entries: BTreeSet<String> = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(entries.len() <= 16, "`lib.rs` and at most fifteen rooms: {entries:?}");

    assert!(entries.remove("lib.rs"));

    let listed: BTreeSet<String> = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(entries, listed);
}

#[test]
fn a_room_names_only_rooms_above_it_in_the_list() {
    for (at, (room, allowed)) in ROOMS.iter().enumerate() {
        for below in *allowed {
            assert!(ROOMS[..at].iter().any(|(above, _)| above == below), "{room} may name {below}");
        }
    }
}

#[test]
fn imports_run_downward_only() {
    let edges = edges();
    for ((from, to), file) in &edges {
        let (_, allowed) = ROOMS.iter().find(|(room, _)| room == from).expect("a room that is listed");
        assert!(allowed.contains(&to.as_str()), "`{}` names `crate::{to}`", file.display());
    }

    // A list that allows more than there is would hide the next step the wrong way.
    for (from, allowed) in ROOMS {
        for to in allowed {
            assert!(edges.contains_key(&(from.to_owned(), (*to).to_owned())), "{from} never names {to}");
        }
    }
}

#[test]
fn each_room_says_what_it_must_not_hold() {
    for (room, _) in ROOMS {
        let text = fs::read_to_string(source().join(room).join("mod.rs")).unwrap();
        let page: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let page = page.join(" ");

        assert!(
            ["Nothing", "nothing", "No ", "no ", "none "].iter().any(|word| page.contains(word)),
            "{room}"
        );
    }
}

#[test]
fn code_is_read_without_comments_and_tests_and_with_lists() {
    let text = "use crate::{a::{x, y}, b};\n// crate::c\nlet x = crate::d::new();\n#[cfg(test)]\nmod tests {\nuse crate::e;";

    assert!(named(&code(text)).iter().eq(["a", "b", "d"]));
}
