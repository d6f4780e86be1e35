//! Pages of a collection, as they are sent.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue, LINK};
use serde::Serialize;

use crate::http::{EntityTag, Problem};
use crate::store::{Page, Resource, Version, Versioned};
use crate::web::resource::Settings;
use crate::web::resource::path::parameter;

/// What a client asks of a list.
struct Asked {
    prefix: String,
    after: Option<String>,
    limit: usize,
    ids_only: bool,
}

#[derive(Serialize)]
struct Item<'a, T> {
    id: &'a str,
    etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a T>,
}

impl Asked {
    fn read(query: Option<&str>, longest: usize) -> Result<Self, Problem> {
        let limit = match parameter(query, "limit")? {
            // One more than the longest is no mistake of the client's: a page may always be shorter than it asked for.
            Some(limit) => limit
                .parse::<usize>()
                .map_err(|_| Problem::of_status(400).with_detail("`limit` is no number"))?
                .min(longest),
            None => longest,
        };
        let ids_only = match parameter(query, "only")?.as_deref() {
            None => false,
            Some("ids") => true,
            Some(_) => return Err(Problem::of_status(400).with_detail("`only` can be `ids`")),
        };
        let prefix = parameter(query, "prefix")?.unwrap_or_default();
        Ok(Self { prefix, after: parameter(query, "after")?, limit, ids_only })
    }

    /// The link to the page after `next`.
    fn link(&self, base: &str, next: &str) -> Option<HeaderValue> {
        let mut link = format!("<{base}?limit={}&after={}", self.limit, escaped(next));
        if !self.prefix.is_empty() {
            link.push_str(&format!("&prefix={}", escaped(&self.prefix)));
        }
        if self.ids_only {
            link.push_str("&only=ids");
        }
        HeaderValue::try_from(link + ">; rel=\"next\"").ok()
    }
}

/// A page of the collection.
pub(super) async fn page<T: Resource + Serialize>(
    settings: &Settings<T>,
    query: Option<&str>,
) -> Result<Response<Bytes>, Problem> {
    let asked = Asked::read(query, settings.longest_page)?;
    let (prefix, after) = (&*asked.prefix, asked.after.as_deref());
    if asked.ids_only {
        let page = settings.collection.scan_ids(prefix, after, asked.limit).await?;
        return written(&page, |version: &Version| (*version, None::<&T>), &asked, settings);
    }
    let page = settings.collection.scan(prefix, after, asked.limit).await?;
    written(&page, |found: &Versioned<T>| (found.version, Some(&*found.value)), &asked, settings)
}

/// As much of a page as may be sent at once: `{"items":[…],"next":…}`, where `next` is what to pass as `after`.
fn written<'a, T: Resource + Serialize, I>(
    page: &'a Page<I>,
    item: impl Fn(&'a I) -> (Version, Option<&'a T>),
    asked: &Asked,
    settings: &Settings<T>,
) -> Result<Response<Bytes>, Problem> {
    let unwritable = |_| Problem::of(500, "not-encodable", "a value of the page cannot be written as JSON");
    let (mut text, mut last, mut more) = (br#"{"items":["#.to_vec(), None, page.more);
    for (id, listed) in &page.items {
        let (version, value) = item(listed);
        let item = Item { id, etag: EntityTag::from(version).to_string(), value };
        let Ok(item) = serde_json::to_vec(&item) else {
            // The page ends before it, so that it is the first of the next one.
            if last.is_some() {
                more = true;
                break;
            }
            let detail = format!("the value of `{id}` cannot be written as JSON");
            return Err(Problem::of(500, "not-encodable", detail).with_member("next", id));
        };
        if last.is_some() {
            // With less than this a client would never get on.
            if text.len() + item.len() > settings.largest_page {
                more = true;
                break;
            }
            text.push(b',');
        }
        text.extend(item);
        last = Some(&**id);
    }
    let next = last.filter(|_| more);
    text.extend(br#"],"next":"#);
    text.extend(serde_json::to_vec(&next).map_err(unwritable)?);
    text.push(b'}');
    let mut response = Response::new(Bytes::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(link) = next.and_then(|next| asked.link(&settings.base, next)) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// A text as a query may have it.
fn escaped(text: &str) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(byte.into());
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
}
