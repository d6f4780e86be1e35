//! A whole resource asked by clients that know nothing of it: curl, Python's `requests`, node's `fetch`, and nginx with gzip in
//! front.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use axum::Router;
use ifmatch::Collection;
use ifmatch::http::Terms;
use ifmatch::web::resource;

use crate::server::{Directory, Server, program};

type Note = std::collections::BTreeMap<String, String>;

/// A service in this process: notes, and the same on lenient terms. It ends with the test.
struct Notes {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Notes {
    fn new() -> Self {
        let notes = Collection::<Note>::in_memory();
        let lenient = resource("/lenient", notes.clone()).terms(Terms::new().required().lenient());
        let router =
            Router::new().nest_service("/notes", resource("/notes", notes)).nest_service("/lenient", lenient);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tell, told) = mpsc::channel();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { address: told.recv().unwrap(), _runtime: runtime }
    }
}

/// What a program prints for a script, which is told the address of the service.
fn told(program: &Path, arguments: &[&str], address: SocketAddr) -> String {
    let directory = Directory::new(None);
    let run = Command::new(program)
        .args(arguments)
        .arg(format!("http://{address}"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {errors}", program.display());
    String::from_utf8(run.stdout).unwrap()
}

/// Creates, saves the tag, compares it, changes by it, and comes too late with it.
const CURL: &str = r#"
url=$0/notes/a
code() { curl -s -o body -w '%{http_code} ' "$@"; }
code -X PUT "$url" -H 'If-None-Match: *' -H 'Content-Type: application/json' -d '{"text":"one"}'
code --etag-save tag "$url"
code --etag-compare tag "$url"
code -X PATCH "$url" -H "If-Match: $(cat tag)" -H 'Content-Type: application/merge-patch+json' -d '{"text":"two"}'
code -X PUT "$url" -H "If-Match: $(cat tag)" -H 'Content-Type: application/json' -d '{"text":"late"}'
code --etag-compare tag "$url"
cat body
"#;

#[test]
fn curl_keeps_tags_and_loses_nothing() {
    program("curl", &[], "curl");
    let notes = Notes::new();

    let told = told(Path::new("sh"), &["-c", CURL], notes.address);

    assert_eq!(told, r#"201 200 304 200 412 200 {"text":"two"}"#);
}

const PYTHON: &str = r#"
import sys, requests
base, session, told = sys.argv[1], requests.Session(), []
created = session.post(base + '/notes', json={'text': 'one'})
url, tag = base + created.headers['location'], created.headers['etag']
told += [created.status_code, session.get(url, headers={'If-None-Match': tag}).status_code]
steps = '[{"op":"test","path":"/text","value":"one"},{"op":"replace","path":"/text","value":"two"}]'
kind = {'Content-Type': 'application/json-patch+json', 'If-Match': tag, 'Prefer': 'return=minimal'}
patched = session.patch(url, data=steps, headers=kind)
told += [patched.status_code, patched.text]
late = session.put(url, json={'text': 'late'}, headers={'If-Match': tag})
told += [late.status_code, late.json()['reason'], late.json()['current_etag'] == patched.headers['etag']]
head = session.head(url)
told += [head.status_code, head.headers['content-length'], head.text]
told += [session.delete(url, headers={'If-Match': head.headers['etag']}).status_code, session.get(url).status_code]
print(told)
"#;

#[test]
fn requests_of_python_changes_what_it_saw_and_nothing_else() {
    let notes = Notes::new();
    let has_it = |python: &&str| {
        Command::new(python).args(["-c", "import requests"]).output().is_ok_and(|run| run.status.success())
    };
    let python = ["python3", "/usr/bin/python3"].into_iter().find(has_it);
    let python =
        python.expect("this test needs `requests` of Python: install the package `python3-requests`");

    let told = told(Path::new(python), &["-c", PYTHON], notes.address);

    assert_eq!(told.trim(), "[201, 304, 204, '', 412, 'stale', True, 200, '14', '', 204, 410]");
}

const NODE: &str = r#"
const base = process.argv[1], told = [];
const json = {'content-type': 'application/json'}, merge = {'content-type': 'application/merge-patch+json'};
let answer = await fetch(base + '/notes/c', {method: 'PUT', headers: {...json, 'if-none-match': '*'}, body: '{"text":"x"}'});
told.push(answer.status, answer.headers.get('location'));
const tag = answer.headers.get('etag'), stop = new AbortController();
const events = await fetch(base + '/notes', {headers: {accept: 'text/event-stream'}, signal: stop.signal});
const reader = events.body.pipeThrough(new TextDecoderStream()).getReader();
let text = (await reader.read()).value;
answer = await fetch(base + '/notes/c', {method: 'PATCH', headers: {...merge, 'if-match': tag}, body: '{"text":"y"}'});
told.push(answer.status, await answer.text());
while (!/event: changes\n.*\n\n/.test(text)) text += (await reader.read()).value;
told.push(text.includes('event: start'), text.includes('"value":{"text":"y"}'));
stop.abort();
answer = await fetch(base + '/notes/c', {headers: {'if-none-match': answer.headers.get('etag')}});
told.push(answer.status);
console.log(JSON.stringify(told));
"#;

#[test]
fn fetch_of_node_hears_of_a_change_as_it_comes() {
    let node = program("node", &[], "nodejs");
    let notes = Notes::new();

    let told = told(&node, &["--input-type=module", "-e", NODE], notes.address);

    assert_eq!(told.trim(), r#"[201,"/notes/c",200,"{\"text\":\"y\"}",true,true,304]"#);
}

/// Tags come back weak: reads are spared all the same, writes are refused with a reason of its own, or taken on lenient terms.
const BEHIND_NGINX: &str = r#"
code() { curl -s --compressed -o body -w '%{http_code} ' "$@"; }
json='Content-Type: application/json'
code -X PUT "$0/notes/a" -H 'If-None-Match: *' -H "$json" -d '{"text":"one"}'
tag=$(curl -s --compressed -D - -o /dev/null "$0/notes/a" | tr -d '\r' | sed -n 's/^etag: //Ip')
case $tag in W/*) printf 'weak ' ;; *) printf 'strong ' ;; esac
code "$0/notes/a" -H "If-None-Match: $tag"
code -X PUT "$0/notes/a" -H "If-Match: $tag" -H "$json" -d '{"text":"two"}'
grep -o '"reason":"[a-z-]*"' body | tr '\n' ' '
code -X PUT "$0/lenient/a" -H "If-Match: $tag" -H "$json" -d '{"text":"two"}'
code -X PUT "$0/lenient/a" -H "If-Match: $tag" -H "$json" -d '{"text":"late"}'
"#;

#[test]
fn nginx_with_gzip_in_front_loses_no_update() {
    program("curl", &[], "curl");
    let nginx: PathBuf = program("nginx", &["/usr/sbin"], "nginx-light");
    let notes = Notes::new();
    let settings = format!(
        "daemon off; master_process off; pid {{directory}}/pid; error_log {{directory}}/errors; events {{}} \
         http {{ access_log off; client_body_temp_path {{directory}}/b; proxy_temp_path {{directory}}/p; \
         fastcgi_temp_path {{directory}}/f; uwsgi_temp_path {{directory}}/u; scgi_temp_path {{directory}}/s; \
         gzip on; gzip_min_length 1; gzip_types application/json; gzip_proxied any; \
         server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{}; }} }} }}",
        notes.address
    );
    let start = "printf '%s' \"$1\" > settings; exec \"$0\" -e errors -c \"$PWD/settings\"";
    let arguments = ["-c", start, nginx.to_str().unwrap(), &settings];
    let server = Server::start(PathBuf::from("sh"), Directory::new(None), None, &arguments);

    let told = told(Path::new("sh"), &["-c", BEHIND_NGINX], server.address());

    assert_eq!(told.trim(), "201 weak 304 412 \"reason\":\"altered-tag\" 200 412");
}
