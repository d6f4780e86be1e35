//! The service of `examples/articles.rs`, driven over a real socket, through the dialogues of the documents among others.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs, process, thread};

use serde_json::Value;

/// Documents that show a dialogue, each with the number of commands in it.
const DIALOGUES: [(&str, usize); 2] =
    [(include_str!("../../README.md"), 3), (include_str!("../../src/docs/dialogue.md"), 29)];

/// What they say for the address of the service.
const SHOWN_ADDRESS: &str = "localhost:3000";

/// The running service, killed when the test ends.
pub(crate) struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Self {
        Self::of(executable(), options)
    }

    /// The service of another example.
    pub(crate) fn of(executable: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(executable)
            .args(["--port", "0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the service starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output is a pipe"))
            .read_line(&mut line)
            .expect("the service says where it listens");
        let address = line.trim().strip_prefix("listening on http://").expect("that line").to_owned();
        Self { child, address }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        self.ask_bytes(method, path, headers.join("\r\n").as_bytes(), body.as_bytes())
    }

    /// Sends one request, with its header lines as they are, and reads the whole answer.
    fn ask_bytes(&self, method: &str, path: &str, headers: &[u8], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("the service listens");
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address).into_bytes();
        request.extend_from_slice(b"connection: close\r\n");
        if !headers.is_empty() {
            request.extend_from_slice(headers);
            request.extend_from_slice(b"\r\n");
        }
        if !body.is_empty() {
            request.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        // A refused body may be cut off: the answer says so.
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    fn create(&self, id: &str) -> String {
        let body = format!(r#"{{"id": "{id}", "title": "t", "text": "s3cr3t"}}"#);
        let created = self.ask("POST", "/articles", &[JSON], &body);
        assert_eq!(created.status, 201, "{}", created.body);
        created.header("etag").expect("a value has a tag").to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The executable of the articles.
fn executable() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();

    BUILT.get_or_init(|| built("articles"))
}

/// An example's executable, built by the cargo that runs the tests, so that it is never an old one.
pub(crate) fn built(example: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The features of this very build, so that what is compiled already serves.
    let features = ["conformance", "file", "merge", "metrics", "patch", "resource", "tower", "tracing"];
    let on = [
        cfg!(feature = "conformance"),
        cfg!(feature = "file"),
        cfg!(feature = "merge"),
        cfg!(feature = "metrics"),
        cfg!(feature = "patch"),
        cfg!(feature = "resource"),
        cfg!(feature = "tower"),
        cfg!(feature = "tracing"),
    ];
    let features = features.into_iter().zip(on);
    let features = features.filter(|(_, on)| *on).fold("axum".to_owned(), |all, (name, _)| all + "," + name);
    let build = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--example", example, "--features", &features, "--message-format", "json"])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(build.status.success(), "the example does not build");
    let messages = String::from_utf8(build.stdout).expect("cargo's messages are text");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the executable")
}

pub(crate) const JSON: &str = "content-type: application/json";

const ARTICLE: &str = r#"{"title": "t", "text": "s3cr3t"}"#;

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and the headers, as curl shows them.
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).expect("the service answers text");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        // It was asked to close the connection, which curl does not ask.
        let head = head.replace("\r\nconnection: close", "").replace("\r\n", "\n");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let answer = Self { status, head, body: body.to_owned() };
        if let Some(length) = answer.header("content-length").filter(|_| !answer.body.is_empty()) {
            assert_eq!(length, answer.body.len().to_string());
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(given, _)| *given == name)
            .map(|h| h.1)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Asserts that it is a complete problem with this status and reason.
    fn assert_problem(&self, status: u16, reason: &str) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {}",
            self.head,
            self.body
        );
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let body = self.json();
        assert_eq!((self.status, body["reason"].as_str()), (status, Some(reason)), "{body}");
        assert_eq!(body["status"], status);
        assert!(!self.body.contains("s3cr3t"), "a value leaked: {body}");
    }
}

/// A command of a dialogue and the output shown under it.
struct Step {
    command: String,
    output: String,
}

/// The dialogue of a document: what stands in its `console` blocks.
fn dialogue(document: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = document.lines();
    while lines.by_ref().any(|line| line == "```console") {
        while let Some(line) = lines.next().filter(|line| *line != "```") {
            let Some(command) = line.strip_prefix("$ ") else {
                let step = steps.last_mut().expect("a block starts with a command");
                step.output.push_str(line);
                step.output.push('\n');
                continue;
            };
            let mut command = command.to_owned();
            while command.ends_with('\\') {
                command.pop();
                command.push_str(lines.next().expect("a command goes on after a backslash"));
            }
            steps.push(Step { command, output: String::new() });
        }
    }
    steps
}

/// A transcript without what differs from run to run: dates and lengths are left out, as are seconds since 1970, and
/// versions numbered in the order in which they appear.
fn normalised(steps: &[Step]) -> Vec<(String, String)> {
    let mut versions = HashMap::new();
    let mut normal = |step: &Step| {
        let lines = step.output.trim_end().lines();
        let kept: Vec<_> = lines
            .filter(|line| !line.starts_with("date: ") && !line.starts_with("content-length: "))
            .collect();
        let mut text = String::new();
        for part in kept.join("\n").split_inclusive(|c: char| !c.is_ascii_digit()) {
            let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
            let count = versions.len() + 1;
            text.push_str(&match digits.len() {
                0..6 => digits.to_owned(),
                10 => "TIME".to_owned(),
                _ => format!("VERSION-{}", versions.entry(digits.to_owned()).or_insert(count)),
            });
            text.push_str(&part[digits.len()..]);
        }
        (step.command.clone(), text)
    };
    steps.iter().map(&mut normal).collect()
}

/// Runs the commands of each dialogue against a service of its own, and holds the answers against those shown.
fn assert_answered(directory: &str, mut run: impl FnMut(&Service, &Path, &str) -> String) {
    for (document, count) in DIALOGUES {
        let (service, directory) = (Service::start(), Directory::new(directory));
        let shown = dialogue(document);
        let mut answer = |shown: &Step| {
            let output = run(&service, &directory.0, &shown.command);
            Step { command: shown.command.clone(), output }
        };

        let answered: Vec<Step> = shown.iter().map(&mut answer).collect();

        assert_eq!(shown.len(), count, "commands in a dialogue");
        for ((command, answered), (_, shown)) in normalised(&answered).iter().zip(normalised(&shown)) {
            assert_eq!(*answered, shown, "the service answers otherwise than is shown: {command}");
        }
    }
}

/// An empty directory of this test's own, removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("ifmatch-articles-{name}-{}", process::id()));
        fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What curl does for the options that the dialogues use.
fn play_curl(service: &Service, directory: &Path, command: &str) -> String {
    let mut words = words(command, directory).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
    let (mut show_head, mut method, mut body, mut url) = (false, None, String::new(), None);
    let (mut headers, mut save) = (Vec::new(), None);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value: {command}"));
        match word.as_str() {
            "-i" => show_head = true,
            "-X" => method = Some(value()),
            "-H" => headers.push(value()),
            "--json" => {
                body = value();
                headers.extend([JSON.to_owned(), "accept: application/json".to_owned()]);
            }
            "--etag-save" => save = Some(directory.join(value())),
            "--etag-compare" => {
                let tag = fs::read_to_string(directory.join(value())).expect("a tag was saved before");
                headers.push(format!("if-none-match: {}", tag.trim()));
            }
            option if option.starts_with('-') => panic!("an option that this test does not know: {option}"),
            _ => url = Some(word),
        }
    }
    let method = method.unwrap_or_else(|| if body.is_empty() { "GET" } else { "POST" }.to_owned());
    let path = url.expect("an address").strip_prefix(SHOWN_ADDRESS).expect("the service's own").to_owned();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();

    let answer = service.ask(&method, &path, &headers, &body);

    if let (Some(file), Some(tag)) = (save, answer.header("etag")) {
        fs::write(file, tag).expect("the directory is writable");
    }
    if show_head { format!("{}\n\n{}", answer.head, answer.body) } else { answer.body }
}

/// What a shell makes of a command: quotes, and `$(cat FILE)` between double quotes.
fn words(command: &str, directory: &Path) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = command.trim();
    while let Some(next) = rest.chars().next() {
        if quote == Some('"')
            && let Some((file, after)) = rest.strip_prefix("$(cat ").and_then(|cat| cat.split_once(')'))
        {
            word.push_str(fs::read_to_string(directory.join(file)).expect("it was saved before").trim());
            rest = after;
            continue;
        }
        rest = &rest[next.len_utf8()..];
        match (quote, next) {
            (Some(open), _) if open == next => quote = None,
            (None, '\'' | '"') => quote = Some(next),
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(next),
        }
    }
    assert_eq!(quote, None, "an open quote: {command}");
    words.push(word);
    words
}

#[test]
fn the_dialogues_shown_are_what_the_service_answers() {
    assert_answered("played", play_curl);
}

#[test]
#[ignore = "needs curl 7.82 or later"]
fn the_dialogues_shown_are_what_curl_itself_shows() {
    let missing = "curl is missing: apt-get install curl";
    Command::new("curl").arg("--version").output().expect(missing);

    assert_answered("curl", |service, directory, command| {
        let command = command.replace(SHOWN_ADDRESS, &service.address).replacen("curl", "curl -sS", 1);
        let shell =
            Command::new("sh").arg("-c").arg(&command).current_dir(directory).output().expect("sh runs");
        assert!(shell.stderr.is_empty(), "{command}: {}", String::from_utf8_lossy(&shell.stderr));
        String::from_utf8(shell.stdout).expect("text").replace('\r', "")
    });
}

#[test]
fn of_many_writers_with_one_tag_exactly_one_wins() {
    let service = Service::start();
    for round in 0..5 {
        let path = format!("/articles/a{round}");
        let condition = format!("if-match: {}", service.create(&format!("a{round}")));

        let statuses: Vec<u16> = thread::scope(|scope| {
            let write = || service.ask("PUT", &path, &[JSON, &condition], ARTICLE).status;
            let writers: Vec<_> = (0..8).map(|_| scope.spawn(write)).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });

        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 7, "{statuses:?}");
    }
}

#[test]
fn preconditions_are_read_as_the_rfc_wants() {
    let service = Service::start();
    let tag = service.create("a");
    let put = |headers: &[&str]| service.ask("PUT", "/articles/a", &[headers, &[JSON]].concat(), ARTICLE);
    let weak = format!("if-match: W/{tag}");

    for malformed in ["if-match: 7", "if-match: \"7", "if-match:", "if-match: *, \"7\"", "if-none-match: ,"] {
        put(&[malformed]).assert_problem(400, "malformed-precondition");
    }
    put(&[&format!("if-match: {tag}"), "if-match: *"]).assert_problem(400, "malformed-precondition");
    put(&["if-none-match: \"other\""]).assert_problem(428, "expectation-required");
    put(&[&weak]).assert_problem(412, "altered-tag");
    put(&["if-match: \"other\""]).assert_problem(412, "foreign-tag");
    put(&["if-none-match: *"]).assert_problem(412, "exists");
    // Two field lines are one list.
    assert_eq!(put(&["if-match: \"other\"", &format!("if-match: W/\"8\", {tag}")]).status, 200);
    assert_eq!(service.ask("PUT", "/articles/a", &["if-match: *"], ARTICLE).status, 415);
}

#[test]
fn bytes_past_ascii_in_a_tag_are_compared_as_they_are() {
    let service = Service::start();
    let tag = service.create("a");
    let put = |condition: &[u8]| {
        let headers = [JSON.as_bytes(), b"\r\nif-match: ", condition].concat();
        service.ask_bytes("PUT", "/articles/a", &headers, ARTICLE.as_bytes())
    };

    put(b"\"\xff\xfe\"").assert_problem(412, "foreign-tag");
    put(b"\xff").assert_problem(400, "malformed-precondition");
    assert_eq!(put(&[b"\"\xff\", ", tag.as_bytes()].concat()).status, 200);
}

#[test]
fn a_read_is_conditional_and_head_has_no_body() {
    let service = Service::start();
    let tag = service.create("a");
    let known = format!("if-none-match: W/{tag}");

    let whole = service.ask("GET", "/articles/a", &["if-none-match: \"other\""], "");
    let same = service.ask("GET", "/articles/a", &[&known], "");
    let head = service.ask("HEAD", "/articles/a", &[], "");

    assert_eq!((whole.status, whole.header("etag")), (200, Some(&*tag)));
    assert_eq!((same.status, same.header("etag"), &*same.body), (304, Some(&*tag), ""));
    assert_eq!((head.status, head.header("etag"), &*head.body), (200, Some(&*tag), ""));
    service.ask("GET", "/articles/a", &["if-match: \"other\""], "").assert_problem(412, "foreign-tag");
    assert_eq!(service.ask("GET", "/articles/a", &["if-none-match: 7"], "").status, 200);
    let head = service.ask("HEAD", "/articles/a", &[&known], "");
    assert_eq!((head.status, head.header("etag"), head.header("content-length")), (304, Some(&*tag), None));
    service.ask("GET", "/articles/b", &["if-none-match: *"], "").assert_problem(404, "not-found");
}

#[test]
fn a_deletion_says_what_it_deletes() {
    let service = Service::start();
    let tag = service.create("a");
    let delete = |path: &str, condition: &str| service.ask("DELETE", path, &[condition], "");

    service.ask("DELETE", "/articles/a", &[], "").assert_problem(428, "expectation-required");
    delete("/articles/a", "if-match: \"1\"").assert_problem(412, "stale");
    delete("/articles/a", "if-none-match: *").assert_problem(412, "exists");
    delete("/articles/b", "if-match: *").assert_problem(404, "missing");
    delete("/articles/b", "if-match: \"other\"").assert_problem(404, "not-found");
    delete("/articles/b", "if-match: 7").assert_problem(404, "not-found");
    service.ask("DELETE", "/articles/b", &[], "").assert_problem(404, "not-found");
    delete("/articles/b", "if-none-match: *").assert_problem(404, "not-found");
    assert_eq!(delete("/articles/a", &format!("if-match: {tag}")).status, 204);
    delete("/articles/a", &format!("if-match: {tag}")).assert_problem(410, "deleted");
    service
        .ask("PUT", "/articles/a", &[JSON, &format!("if-match: {tag}")], ARTICLE)
        .assert_problem(412, "deleted");
}

#[test]
fn a_reserved_article_is_its_holders_alone_until_the_lease_ends() {
    let service = Service::start();
    service.create("a");
    let reserve = |owner: &str| {
        service.ask("POST", "/articles/a/lease", &[JSON], &format!(r#"{{"owner": "{owner}"}}"#))
    };
    let lease = |method: &str, token: &str| service.ask(method, "/articles/a/lease", &[token], "");
    let put = |headers: &[&str]| {
        service.ask("PUT", "/articles/a", &[headers, &[JSON, "if-match: *"]].concat(), ARTICLE)
    };

    let reserved = reserve("ann");
    let token = format!("lease-token: {}", reserved.header("etag").expect("its token"));

    reserve("bob").assert_problem(423, "locked");
    put(&[]).assert_problem(423, "locked");
    put(&["lease-token: \"7\""]).assert_problem(409, "state");
    put(&["lease-token: none"]).assert_problem(400, "malformed-precondition");
    service.ask("DELETE", "/articles/a", &["if-match: *"], "").assert_problem(423, "locked");
    assert_eq!((put(&[&token]).status, lease("PUT", &token).status), (200, 200));
    let create = |headers: &[&str]| {
        service.ask(
            "POST",
            "/articles",
            &[headers, &[JSON]].concat(),
            r#"{"id": "a", "title": "t", "text": "t"}"#,
        )
    };
    create(&[]).assert_problem(423, "locked");
    create(&[&token]).assert_problem(409, "exists");
    assert_eq!(lease("GET", "accept: */*").json()["owner"], "ann");

    assert_eq!(lease("DELETE", &token).status, 204);
    lease("DELETE", &token).assert_problem(409, "state");
    put(&[&token]).assert_problem(409, "state");
    assert_eq!(put(&[]).status, 200);

    let reserved = reserve("bob");
    let token = format!("lease-token: {}", reserved.header("etag").expect("its token"));
    let held = lease("GET", "accept: */*").header("etag").expect("its token").to_owned();
    let force = |headers: &[&str]| {
        let body = r#"{"by": "carl", "reason": "bob is away"}"#;
        service.ask("POST", "/articles/a/lease/force", &[headers, &[JSON]].concat(), body)
    };
    force(&[]).assert_problem(428, "expectation-required");
    force(&["if-match: \"7\""]).assert_problem(412, "stale");
    assert_eq!(force(&[&format!("if-match: {held}")]).status, 204);
    lease("PUT", &token).assert_problem(409, "state");
    lease("GET", "accept: */*").assert_problem(404, "not-found");
    let trail = service.ask("GET", "/articles/a/lease/trail", &[], "").json();
    assert_eq!(
        (&trail["items"][0]["from"], &trail["items"][0]["reason"]),
        (&"bob".into(), &"bob is away".into())
    );
}

#[test]
fn bad_requests_are_problems_too_and_quote_nothing() {
    let service = Service::start();
    let post = |body: &str| service.ask("POST", "/articles", &[JSON], body);

    post("{\"id\": s3cr3t").assert_problem(400, "bad-request");
    post(r#"{"id": "a", "title": "s3cr3t"}"#).assert_problem(422, "unprocessable-content");
    post(&format!(r#"{{"id": "a", "title": "t", "text": "{}"}}"#, "x".repeat(65_536)))
        .assert_problem(413, "too-large");
    post(r#"{"id": "..", "title": "t", "text": "t"}"#).assert_problem(400, "bad-id");
    post(r#"{"id": "", "title": "t", "text": "t"}"#).assert_problem(400, "bad-id");
    post(&format!(r#"{{"id": "{}", "title": "t", "text": "t"}}"#, "x".repeat(513)))
        .assert_problem(400, "bad-id");
    service.ask("GET", "/articles?limit=s3cr3t", &[], "").assert_problem(400, "bad-request");
    service.ask("GET", "/articles?limit=0", &[], "").assert_problem(400, "empty-page");
    service.ask("GET", "/elsewhere", &[], "").assert_problem(404, "no-route");
    service.ask("GET", "/articles/%FF", &[], "").assert_problem(400, "bad-request");
    let patch = service.ask("PATCH", "/articles/a", &["if-match: 7"], "");
    patch.assert_problem(405, "method-not-allowed");
    assert!(patch.header("allow").is_some_and(|allowed| allowed.contains("PUT")));
}

#[test]
fn any_id_makes_a_location_that_leads_to_it() {
    let service = Service::start();

    for id in ["a/b", "a/../b", "...", "100%", "ünï cödé?x=#y", "a\\r\\nset-cookie: x", "\\u001b[31m"] {
        let body = format!(r#"{{"id": "{id}", "title": "t", "text": "t"}}"#);
        let created = service.ask("POST", "/articles", &[JSON], &body);
        assert_eq!(created.status, 201, "{id}: {}", created.body);

        let read = service.ask("GET", created.header("location").unwrap(), &[], "");

        assert_eq!((read.status, read.header("etag")), (200, created.header("etag")), "{id}");
        assert_eq!(read.header("set-cookie"), None);
    }
}

#[test]
fn the_list_comes_in_pages() {
    let service = Service::start();
    for id in ["b", "a", "c"] {
        service.create(id);
    }
    let page = |query: &str| service.ask("GET", &format!("/articles{query}"), &[], "").json();
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|listed| listed["id"].as_str().unwrap().into()).collect()
    };

    let first = page("?limit=2");
    let second = page("?limit=2&after=b");

    assert_eq!((ids(&first), &first["next"]), (vec!["a".into(), "b".into()], &Value::from("b")));
    assert_eq!((ids(&second), &second["next"]), (vec!["c".into()], &Value::Null));
    assert_eq!(ids(&page("")).len(), 3);
}

#[test]
fn options_that_cannot_be_met_are_told() {
    let refused = |arguments: &[&str]| {
        let run = Command::new(executable()).args(arguments).output().expect("it runs");
        assert!(!run.status.success());
        String::from_utf8(run.stderr).unwrap()
    };

    assert!(refused(&["--store", "tape"]).contains("unknown store `tape`"));
    assert!(refused(&["--port", "x"]).contains("not a port"));
    assert!(refused(&["--port"]).contains("needs a value"));
    assert!(refused(&["--colour", "x"]).contains("unknown option"));
}

#[cfg(feature = "file")]
#[test]
fn what_was_written_to_a_file_is_there_when_the_service_starts_again() {
    let directory = crate::file::Directory::new();
    let store = format!("file:{}", directory.file().display());
    let service = Service::start_with(&["--store", &store]);
    let first = service.create("kept");
    let replaced = service.ask("PUT", "/articles/kept", &[JSON, &format!("if-match: {first}")], ARTICLE);
    let tag = replaced.header("etag").expect("a value has a tag").to_owned();
    // It is killed, not asked to stop.
    drop(service);

    let service = Service::start_with(&["--store", &store]);

    let read = service.ask("GET", "/articles/kept", &[], "");
    assert_eq!((read.status, read.header("etag")), (200, Some(&*tag)));
    assert_eq!(read.json()["text"], "s3cr3t");
    let late = service.ask("PUT", "/articles/kept", &[JSON, &format!("if-match: {first}")], ARTICLE);
    assert_eq!(late.status, 412);
    let next = service.ask("PUT", "/articles/kept", &[JSON, &format!("if-match: {tag}")], ARTICLE);
    assert!(next.status < 300, "{}", next.body);
}
