//! A client of HTTP/1.1 that keeps its connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection, and another one where the service ends it.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub struct Told {
    pub status: u16,
    pub body: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// # Panics
    ///
    /// Where nobody listens there.
    pub fn connect(address: SocketAddr) -> Self {
        Self { address, stream: stream(address) }
    }

    /// Sends a call of the table.
    ///
    /// # Panics
    ///
    /// Where the answer is no HTTP.
    pub fn ask(&mut self, call: &str, id: &str, headers: &[(&str, String)]) -> Told {
        let (json, patch) = ("application/json", "application/merge-patch+json");
        let article = r#"{"title":"s3cr3t"}"#;
        let one = format!("/articles/{id}");
        let new = format!(r#"{{"id":"{id}","title":"s3cr3t"}}"#);
        let (method, path, kind, body) = match call {
            "create" => ("POST", "/articles", json, &*new),
            "read" => ("GET", &*one, "", ""),
            "head" => ("HEAD", &*one, "", ""),
            "replace" => ("PUT", &*one, json, article),
            "change" => ("PATCH", &*one, patch, r#"{"title":"s3cr3t, too"}"#),
            "delete" => ("DELETE", &*one, "", ""),
            "list" => ("GET", "/articles", "", ""),
            "text" => ("PUT", &*one, "text/plain", "s3cr3t"),
            "broken" => ("PUT", &*one, json, r#"{"title":"s3cr3t"#),
            "post" => ("POST", &*one, json, article),
            "elsewhere" => ("GET", "/elsewhere", "", ""),
            other => panic!("{other}"),
        };
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !kind.is_empty() {
            request.push_str(&format!("content-type: {kind}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let told = self.told(method);
        if told.header("connection") == Some("close") {
            self.stream = stream(self.address);
        }
        told
    }

    fn told(&mut self, method: &str) -> Told {
        let first = self.line();
        let status = first.split(' ').nth(1).unwrap_or_else(|| panic!("no status: {first}")).parse().unwrap();
        let mut told = Told { status, headers: Vec::new(), body: String::new() };
        while let Some((name, value)) = self.line().split_once(": ") {
            told.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        if method != "HEAD" && status != 304 {
            let mut body = vec![0; told.header("content-length").map_or(0, |length| length.parse().unwrap())];
            self.stream.read_exact(&mut body).unwrap();
            told.body = String::from_utf8(body).unwrap();
        }
        told
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

fn stream(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    BufReader::new(stream)
}

impl Told {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    /// The reason of a problem; nothing where it is none.
    pub fn reason(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["reason"].as_str().unwrap_or_default().to_owned()
    }
}
