//! [`call`], one request to a service, without a network.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{CONTENT_TYPE, ETAG};
use serde_json::Value;
use tower::ServiceExt;

/// What a service answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    /// Empty where there is none.
    pub etag: String,
    /// `Null` where there is none.
    pub body: Value,
}

/// Sends a request, as `"PUT /items/a"`, with its headers; a body of `Null` is none.
pub async fn call(service: &Router, request: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    let (method, path) = request.split_once(' ').expect("a method and a path");
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = match body {
        Value::Null => Body::empty(),
        body => {
            request = request.header(CONTENT_TYPE, "application/json");
            body.to_string().into()
        }
    };

    let response = service.clone().oneshot(request.body(body).unwrap()).await.unwrap();

    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: head.status.as_u16(),
        etag: head.headers.get(ETAG).map_or(String::new(), |etag| etag.to_str().unwrap().to_owned()),
        body: match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body)
                .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into()),
        },
    }
}
