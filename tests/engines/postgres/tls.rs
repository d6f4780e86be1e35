//! Encrypted connections to a PostgreSQL server.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::sync::Arc;

use ifmatch::Store;
use ifmatch::engine::ConnectError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::{options, server, user};
use crate::server::Directory;

/// A certificate for this machine, signed by itself.
fn certificate(directory: &Directory) -> CertificateDer<'static> {
    let [key, certificate] = ["server.key", "server.crt"].map(|name| directory.path().join(name));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args([
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-addext",
        "basicConstraints=CA:FALSE",
    ]);
    let made = openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for file in [&key, &certificate] {
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        chown(file, user(), None).unwrap();
    }
    CertificateDer::from_pem_file(&certificate).unwrap()
}

fn trusting(certificate: Option<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    certificate.into_iter().for_each(|certificate| roots.add(certificate).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

#[test]
fn connections_are_encrypted_and_a_strange_certificate_is_refused() {
    let directory = Directory::new(user());
    let certificate = certificate(&directory);
    let [key_file, certificate_file] =
        ["server.key", "server.crt"].map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={certificate_file}"),
        format!("ssl_key_file={key_file}"),
    ];
    let server = server(&settings.each_ref().map(String::as_str));
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=require", server.port);

    let store = options().tls(trusting(Some(certificate))).connect(&url).wait().unwrap();
    assert!(store.get("a").wait().unwrap().is_none());

    for refused in [options().tls(trusting(None)).connect(&url), options().connect(&url)] {
        assert!(matches!(refused.wait(), Err(ConnectError::Unreachable { .. })));
    }
}
