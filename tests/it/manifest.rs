//! What the documents say of the crate, held against its manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The features of `Cargo.toml` but `default`, each with what it turns on.
fn features() -> BTreeMap<String, String> {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[features]\n").nth(1).expect("a feature section");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let pairs = lines.filter_map(|line| line.split_once(" = "));
    pairs
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .filter(|(name, _)| name != "default")
        .collect()
}

/// The first two cells of each row of the feature table in a text.
fn table(text: &str) -> BTreeMap<String, String> {
    let header = text.lines().position(|line| line.starts_with(FEATURES)).expect("a feature table");
    let rows = text.lines().skip(header + 2).map_while(|line| line.split_once("| `").map(|(_, row)| row));
    rows.map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_string());
        (cells.next().unwrap(), cells.next().unwrap())
    })
    .collect()
}

/// How the table begins, in the crate's documentation behind the marks of a comment.
const FEATURES: &str = "| feature | ";

#[test]
fn the_feature_tables_are_those_of_the_manifest() {
    let default = read("Cargo.toml").lines().find(|line| line.starts_with("default = ")).unwrap().to_string();
    let by_default = |feature: &str| default.contains(&format!("\"{feature}\""));

    let readme = table(&read("README.md"));
    let crate_docs = table(&read("src/lib.rs").replace("//! ", ""));

    for (document, table) in [("README.md", &readme), ("src/lib.rs", &crate_docs)] {
        assert!(table.keys().eq(features().keys()), "{document} lists {:?}", table.keys());
    }
    for (feature, said) in crate_docs {
        assert_eq!(said, if by_default(&feature) { "yes" } else { "no" }, "{feature} in src/lib.rs");
    }
    for (feature, said) in readme {
        assert_eq!(said.starts_with("by default"), by_default(&feature), "{feature} in README.md");
    }
}

#[test]
fn the_stated_rust_version_is_that_of_the_manifest() {
    let manifest = read("Cargo.toml");
    let version =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');

    assert!(read("README.md").contains(&format!("Rust {version} or newer")));
}

#[test]
fn the_readme_has_at_most_a_thousand_words() {
    let words = read("README.md").split_whitespace().count();

    assert!(words <= 1000, "{words} words: what is added here takes as much out, into `src/docs`");
}

#[test]
fn each_link_of_the_readme_leads_to_a_file() {
    let readme = read("README.md");
    let links: Vec<&str> =
        readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect();

    assert!(links.contains(&"src/docs/dialogue.md"), "{links:?}");
    for link in links {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(link).is_file(), "{link} leads nowhere");
    }
}

#[test]
fn every_locked_dependency_is_past_its_known_advisories() {
    let least = [
        ("bytes", [1, 11, 1]),
        ("crossbeam-epoch", [0, 9, 20]),
        ("h2", [0, 4, 16]),
        ("rand", [0, 8, 6]),
        ("rand", [0, 9, 3]),
        ("rand", [0, 10, 1]),
        ("redb", [4, 5, 0]),
        ("rustls-webpki", [0, 103, 13]),
        ("tokio", [1, 44, 2]),
        ("tokio-postgres", [0, 7, 18]),
        ("tonic", [0, 12, 3]),
        ("tracing-subscriber", [0, 3, 20]),
    ];
    let lock = read("Cargo.lock");
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let field = |name| package.lines().find_map(|line: &str| line.strip_prefix(name)?.strip_suffix('"'));
        (field("name = \"").unwrap(), field("version = \"").unwrap())
    });

    for (name, version) in packages {
        let core = version.split(['-', '+']).next().unwrap();
        let numbers: Vec<u64> = core.split('.').map(|number| number.parse().unwrap()).collect();
        // A fix that went into several series counts for each of them; the last one listed for all others.
        let fixes = || least.iter().filter(|(listed, _)| *listed == name).map(|(_, fixed)| fixed);
        let of_series = fixes().find(|fixed| fixed[..2] == numbers[..2]);
        let Some(least) = of_series.or(fixes().next_back()) else { continue };
        assert!(numbers[..] >= least[..], "{name} {version} has a known advisory");
    }
}

#[test]
fn what_the_page_about_tables_shows_of_a_driver_is_what_its_service_does() {
    let page = read("src/docs/tables.md");
    let sections = [
        ("tokio-postgres", "tokio-postgres"),
        ("sqlx", "sqlx"),
        ("SeaORM", "sea-orm"),
        ("Diesel", "diesel"),
        ("rusqlite", "rusqlite"),
    ];
    for (title, directory) in sections {
        let service = read(&format!("examples/tables/{directory}/src/main.rs"));
        let section =
            page.split(&format!("\n## {title}\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
        let shown: Vec<&str> =
            blocks(section.unwrap_or_else(|| panic!("no section {title}")), "text").collect();

        assert!(!shown.is_empty(), "{title}");
        // The functions of a block, and not what stands between them.
        for function in shown.iter().flat_map(|block| block.split("\n\n")) {
            assert!(service.contains(function), "{directory} has no:\n{function}");
        }
    }
}

#[test]
fn what_the_page_about_frameworks_shows_is_what_its_service_does() {
    let page = read("src/docs/frameworks.md");
    let service = read("examples/frameworks/hyper/src/main.rs");
    let shown = blocks(&page, "text").next().expect("the recipe");

    // The functions, and not what stands between them.
    for function in shown.split("\n\n") {
        assert!(service.contains(function), "the service has no:\n{function}");
    }
}

#[test]
fn the_readme_shows_the_protocol_on_tables_as_the_services_have_it() {
    let readme = read("README.md");
    let shown = blocks(&readme, "rust,ignore").next().expect("the lines of the protocol");
    let page = read("src/docs/tables.md");
    let on_page = blocks(&page, "text").next().expect("the lines of the protocol");
    let service = read("examples/tables/sqlx/src/main.rs");
    // A commit whose answer is lost is none that applied nothing.
    let commit = "tx.commit().await.map_err(Failed::Commit)?";
    let calls = [".again(", "pool.begin().await?", ".admit_row(", ".moved(", commit];

    for text in [shown, on_page, &service] {
        let at = calls.map(|call| text.find(call).unwrap_or_else(|| panic!("no `{call}` in:\n{text}")));
        // In the service the policy stands below the closure that it is given.
        assert!(at[1..].is_sorted(), "{calls:?} in another order:\n{text}");
    }
}

#[test]
fn the_triggers_that_the_page_about_tables_shows_are_those_of_the_services() {
    let plain = |sql: &str| {
        let words = sql.replace("IF NOT EXISTS ", "").replace("OR REPLACE ", "");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let schemas =
        ["postgres", "sqlite"].map(|name| plain(&read(&format!("examples/tables/schema/{name}.sql"))));
    let page = read("src/docs/tables.md");
    let shown: Vec<String> = blocks(&page, "sql").map(plain).collect();
    let triggers = shown.iter().filter_map(|sql| sql.find("CREATE TRIGGER").map(|at| &sql[at..]));

    assert_eq!(triggers.clone().count(), 2);
    for trigger in triggers {
        assert!(schemas.iter().any(|schema| schema.contains(trigger)), "{trigger}");
    }
}

/// What a page shows in blocks of a language.
fn blocks<'a>(page: &'a str, language: &'a str) -> impl Iterator<Item = &'a str> {
    let begin = format!("```{language}\n");
    let blocks: Vec<&str> =
        page.split(&begin).skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    blocks.into_iter()
}
