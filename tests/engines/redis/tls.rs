//! The store over TLS.

use std::fs;
use std::process::{Command, Stdio};

use ifmatch::engine::ConnectError;
use ifmatch::{Commit, Entry, Expected, Start, Store};

use super::{fresh, short};
use crate::server::{Directory, Server, program};

/// A server that speaks only TLS, and the certificate that it shows.
fn server() -> (Server, Vec<u8>) {
    let directory = Directory::new(None);
    let make = Command::new(program("openssl", &[], "openssl"))
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", "key", "-out", "certificate"])
        .current_dir(directory.path())
        .stderr(Stdio::null())
        .status();
    assert!(make.unwrap().success());
    let certificate = fs::read(directory.path().join("certificate")).unwrap();
    let arguments = [
        "--port",
        "0",
        "--tls-port",
        "{port}",
        "--tls-cert-file",
        "certificate",
        "--tls-key-file",
        "key",
        "--tls-ca-cert-file",
        "certificate",
        "--tls-auth-clients",
        "no",
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ];
    (Server::start(program("redis-server", &[], "redis-server"), directory, None, &arguments), certificate)
}

#[test]
fn a_store_works_over_tls_and_trusts_only_whom_it_is_told_to() {
    let (server, certificate) = server();
    let url = format!("rediss://localhost:{}", server.port);
    let trusting = ::redis::TlsCertificates { client_tls: None, root_cert: Some(certificate) };
    let client = ::redis::Client::build_with_tls(&*url, trusting).unwrap();

    let store = fresh().with_client(client).wait().unwrap();
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let put = Entry::put("a", Expected::Absent, (*b"value").into());
    let committed = store.commit(Commit::one(put)).wait().unwrap();

    assert_eq!(store.get("a").wait().unwrap().map(|current| current.version), committed.version());
    assert_eq!(Some(changes.next().wait().unwrap().changes[0].version), committed.version());
    // Of the system's certificates none has signed that one.
    let refused = fresh().deadlines(short()).connect(&url).wait().unwrap_err();
    assert!(matches!(refused, ConnectError::Unreachable { .. }), "{refused}");
    let plain = format!("redis://localhost:{}", server.port);
    assert!(fresh().deadlines(short()).connect(plain).wait().is_err());
}
