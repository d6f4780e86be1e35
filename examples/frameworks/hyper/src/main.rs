//! Articles over hyper alone. What stands in `answer` and `sent` is all that a framework needs of `ifmatch::http`.
//!
//! Run with `cargo run --bin any`, in this workspace.

use std::convert::Infallible;
use std::error::Error as StdError;

use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ifmatch::Collection;
use ifmatch::http::{Patch, Preconditions, Problem, Required};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

type Articles = Collection<Article>;
/// A body of known length, or none at all.
type Body = Either<Full<Bytes>, StreamBody<tokio_stream::Empty<Result<Frame<Bytes>, Infallible>>>>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Article {
    title: String,
}

#[derive(Deserialize)]
struct NewArticle {
    id: String,
    #[serde(flatten)]
    article: Article,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener).await.map_err(Into::into)
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let articles = Articles::in_memory();
    loop {
        let (stream, _) = listener.accept().await?;
        let articles = articles.clone();
        let service = service_fn(move |request| {
            let articles = articles.clone();
            async move { Ok::<_, Infallible>(answer(&articles, request).await.unwrap_or_else(refused)) }
        });
        // A connection that breaks is no concern of the others.
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

/// A request: its preconditions go into the one call that does its work.
async fn answer(articles: &Articles, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
    let (parts, body) = request.into_parts();
    let known = Preconditions::from_headers(&parts.headers);
    let basis = Required::of(known.clone());
    let path = percent_decode_str(parts.uri.path()).decode_utf8().map_err(|_| Problem::of_status(400))?;
    let answer = match (parts.method.as_str(), path.strip_prefix("/articles/")) {
        ("GET" | "HEAD", Some(id)) => articles.get_if(id, &known).await?,
        ("PUT", Some(id)) => {
            let article: Article = json(&parts, body).await?;
            articles.put_if(id, &basis, article).await?.at("/articles")
        }
        ("PATCH", Some(id)) => articles.apply_if(id, &basis, &patch(&parts, body).await?).await?,
        ("DELETE", Some(id)) => articles.delete_if(id, &basis).await?,
        ("POST", None) if path == "/articles" => {
            let new: NewArticle = json(&parts, body).await?;
            articles.create_if(&new.id, &known, new.article).await?.at("/articles")
        }
        ("GET", None) if path == "/articles" => return list(articles).await,
        (_, Some(_)) => {
            return Err(Problem::of_status(405).with_header("allow", "GET, HEAD, PUT, PATCH, DELETE"));
        }
        (_, None) if path == "/articles" => {
            return Err(Problem::of_status(405).with_header("allow", "GET, POST"));
        }
        (_, None) => return Err(Problem::of_status(404)),
    };
    let mut headers = answer.headers();
    headers.push(("content-type", "application/json".to_owned()));
    Ok(sent(answer.status(), headers, answer.body().map(encoded).transpose()?))
}

/// A problem is a response like another; its cause goes along for whoever is in front.
fn refused(problem: Problem) -> Response<Body> {
    let body = serde_json::to_vec(&problem).expect("a problem is JSON");
    let mut response = sent(problem.status(), problem.headers(), Some(body));
    if let Some(cause) = problem.cause() {
        response.extensions_mut().insert(cause.clone());
    }
    response
}

fn sent(status: u16, headers: Vec<(&'static str, String)>, body: Option<Vec<u8>>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers.into_iter().filter(|(name, _)| body.is_some() || *name != "content-type") {
        response = response.header(name, value);
    }
    // No body has no length: in a 304 that would be the length of the value.
    let body = body.map_or_else(
        || Either::Right(StreamBody::new(tokio_stream::empty())),
        |body| Either::Left(Full::new(body.into())),
    );
    response.body(body).expect("answers and problems have good statuses and headers")
}

fn encoded(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|_| Problem::of(500, "not-encodable", "the value is no JSON"))
}

/// The largest body of a request.
const LARGEST_BODY: usize = 64 * 1024;

async fn bytes(body: Incoming) -> Result<Bytes, Problem> {
    let read = Limited::new(body, LARGEST_BODY).collect().await;
    Ok(read.map_err(|_| Problem::of_status(413))?.to_bytes())
}

fn kind(parts: &Parts) -> Option<&str> {
    parts.headers.get("content-type").and_then(|kind| kind.to_str().ok())
}

async fn json<T: DeserializeOwned>(parts: &Parts, body: Incoming) -> Result<T, Problem> {
    if kind(parts) != Some("application/json") {
        return Err(Problem::of_status(415));
    }
    serde_json::from_slice(&bytes(body).await?).map_err(|_| Problem::of_status(400))
}

async fn patch(parts: &Parts, body: Incoming) -> Result<Patch, Problem> {
    Patch::parse(kind(parts), &bytes(body).await?)
}

/// The ids of the first hundred articles.
async fn list(articles: &Articles) -> Result<Response<Body>, Problem> {
    let page = articles.scan("", None, 100).await?;
    let ids: Vec<&str> = page.items.iter().map(|(id, _)| &**id).collect();
    Ok(sent(200, vec![("content-type", "application/json".to_owned())], Some(encoded(&ids)?)))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use http::Method;
    use hyper::body::SizeHint;
    use ifmatch::http::Tally;
    use ifmatch::web::tower::{Basis, Monitor, Problems, Require};
    use tower::{ServiceBuilder, ServiceExt};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_request_of_the_table_is_answered_as_it_should_be() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener));

        tokio::task::spawn_blocking(move || trial::drive(address, &[])).await.unwrap();
    }

    /// A body that layers can make of bytes, too.
    struct Sent(Body);

    impl From<Vec<u8>> for Sent {
        fn from(bytes: Vec<u8>) -> Self {
            Self(Either::Left(Full::new(bytes.into())))
        }
    }

    impl hyper::body::Body for Sent {
        type Data = Bytes;
        type Error = <Body as hyper::body::Body>::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Pin::new(&mut self.0).poll_frame(context)
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }

    /// What a request has to say before it comes to a handler: of all others the handlers ask by themselves.
    fn basis(head: &Parts) -> Option<Basis> {
        let is_of_one = head.uri.path().starts_with("/articles/");
        let has_to = is_of_one && matches!(head.method, Method::PUT | Method::DELETE);
        Some(if has_to { Basis::Required } else { Basis::Optional })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn so_it_is_behind_the_layers_which_count_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (articles, tally) = (Articles::in_memory(), Tally::new());
        let counts = tally.clone();
        let layered = ServiceBuilder::new()
            .layer(Monitor::new(move |exchange| counts.request(exchange)))
            .layer(Problems::new())
            .layer(Require::new().by(basis))
            .service_fn(move |request: Request<Incoming>| {
                let articles = articles.clone();
                async move {
                    let answer = answer(&articles, request).await.unwrap_or_else(refused);
                    Ok::<_, Infallible>(answer.map(Sent))
                }
            });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let layered = layered.clone();
                let service = service_fn(move |request| layered.clone().oneshot(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });

        tokio::task::spawn_blocking(move || trial::drive(address, &[])).await.unwrap();

        let text = tally.to_string();
        let counted = |outcome: &str| {
            let line = format!("ifmatch_requests_total{{outcome=\"{outcome}\"}} ");
            text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse::<usize>().unwrap()
        };
        for reason in ["stale", "exists", "expectation-required", "malformed-precondition"] {
            let asked = trial::CASES.iter().filter(|case| case.status >= 400 && case.reason == reason);
            assert_eq!(counted(reason), asked.count(), "{reason}");
        }
    }
}
