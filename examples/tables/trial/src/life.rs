//! [`life_of_an_item`], one request after the other.

use std::collections::BTreeSet;

use axum::Router;
use serde_json::{Value, json};

use crate::answer::{Answer, call};

/// Creates an item, changes it, deletes it and creates it anew, each also as the preconditions forbid, and judges the answers.
/// `bypass` runs a statement as somebody does who bypasses the service.
pub async fn life_of_an_item(service: &Router, bypass: impl FnOnce(&str)) {
    let post = || call(service, "POST /items", &[], json!({"id": "a", "name": "apples", "count": 0}));
    let get = || call(service, "GET /items/a", &[], Value::Null);
    let put = |header: &'static str, tag: String, count: u64| async move {
        let body = json!({"name": "apples", "count": count});
        call(service, "PUT /items/a", &[(header, &tag)], body).await
    };
    let delete = |tag: String| async move {
        call(service, "DELETE /items/a", &[("If-Match", &tag)], Value::Null).await
    };
    let told = |answer: &Answer| (answer.status, answer.body["current"]["count"].as_u64());

    assert_eq!(get().await.status, 404);
    assert_eq!(told(&put("If-Match", "\"1\"".into(), 1).await), (412, None));
    let first = post().await;
    assert_eq!((first.status, &first.body["count"]), (201, &json!(0)), "{first:?}");
    let exists = post().await;
    assert_eq!(
        (told(&exists), &exists.body["current_etag"]),
        ((409, Some(0)), &json!(first.etag)),
        "{exists:?}"
    );
    assert_eq!(told(&put("If-None-Match", "*".into(), 1).await), (412, Some(0)));

    let read = get().await;
    assert_eq!((read.status, &read.etag), (200, &first.etag), "{read:?}");
    let known = call(service, "GET /items/a", &[("If-None-Match", &first.etag)], Value::Null).await;
    assert_eq!((known.status, &known.body), (304, &Value::Null), "{known:?}");

    let blind = call(service, "PUT /items/a", &[], json!({"name": "apples", "count": 1})).await;
    assert_eq!(blind.status, 428, "{blind:?}");
    let second = put("If-Match", first.etag.clone(), 1).await;
    assert_eq!((second.status, &second.body["count"]), (200, &json!(1)), "{second:?}");
    let stale = put("If-Match", first.etag.clone(), 2).await;
    assert_eq!((told(&stale), &stale.etag), ((412, Some(1)), &second.etag), "{stale:?}");

    bypass("UPDATE items SET count = 9 WHERE id = 'a'");
    let bypassed = put("If-Match", second.etag.clone(), 2).await;
    assert_eq!(told(&bypassed), (412, Some(9)), "{bypassed:?}");
    assert_eq!(told(&delete(second.etag.clone()).await), (412, Some(9)));

    let deleted = delete(bypassed.etag.clone()).await;
    assert_eq!((deleted.status, &deleted.body), (204, &Value::Null), "{deleted:?}");
    assert_eq!(delete(bypassed.etag.clone()).await.status, 404);
    assert_eq!(told(&put("If-Match", bypassed.etag.clone(), 2).await), (412, None));

    let anew = put("If-None-Match", "*".into(), 0).await;
    assert_eq!(anew.status, 201, "{anew:?}");
    let tags = BTreeSet::from([first, second, bypassed, anew].map(|answer| answer.etag));
    assert_eq!(tags.len(), 4, "no version comes back: {tags:?}");
}
