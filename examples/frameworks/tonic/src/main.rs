//! Articles served by tonic.
//!
//! Run with `cargo run --bin articles-tonic`, in this workspace.

use std::error::Error as StdError;

use http::request::Parts;
use ifmatch::Collection;
use ifmatch::http::Tally;
use ifmatch::web::tonic::{preconditions, required, response};
use ifmatch::web::tower::{Basis, Monitor, Problems, Require};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Error as TransportError, Server};
use tonic::{Request, Response, Status};

/// The server and the client, of the service that `build.rs` describes.
#[allow(unreachable_pub)]
mod rpc {
    tonic::include_proto!("articles.Articles");
}

#[derive(Clone, PartialEq, prost::Message)]
struct Article {
    #[prost(string, tag = "1")]
    title: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Named {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(message, required, tag = "2")]
    article: Article,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Ids {
    #[prost(string, repeated, tag = "1")]
    ids: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// The service. What it keeps is its own type, and here the message itself.
struct Office {
    articles: Collection<Article>,
}

type Answered<M> = Result<Response<M>, Status>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, Tally::new()).await.map_err(Into::into)
}

/// What a call has to say before it comes to a handler, by its path: a service whose handlers all ask for it needs no such layer.
fn basis(head: &Parts) -> Option<Basis> {
    matches!(head.uri.path(), "/articles.Articles/Replace" | "/articles.Articles/Delete")
        .then_some(Basis::Required)
}

async fn serve(listener: TcpListener, tally: Tally) -> Result<(), TransportError> {
    let office = Office { articles: Collection::in_memory() };
    Server::builder()
        // The first one is in front of all others, and sees what they refuse.
        .layer(Monitor::new(move |exchange| tally.request(exchange)))
        .layer(Problems::new().grpc())
        .layer(Require::new().by(basis).grpc())
        .add_service(rpc::articles_server::ArticlesServer::new(office))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
}

#[tonic::async_trait]
impl rpc::articles_server::Articles for Office {
    /// `ALREADY_EXISTS` where the id is taken.
    async fn create(&self, request: Request<Named>) -> Answered<Article> {
        let known = preconditions(&request);
        let Named { id, article } = request.into_inner();
        Ok(response(self.articles.create_if(&id, &known, article).await?, Article::clone))
    }

    /// The article with its `etag`. Who names that in `if-none-match` gets it without the article.
    async fn read(&self, request: Request<Id>) -> Answered<Article> {
        let known = preconditions(&request);
        Ok(response(self.articles.get_if(&request.get_ref().id, &known).await?, Article::clone))
    }

    /// Replaces the state that `if-match` names, or creates with `if-none-match: *`.
    async fn replace(&self, request: Request<Named>) -> Answered<Article> {
        let basis = required(&request);
        let Named { id, article } = request.into_inner();
        Ok(response(self.articles.put_if(&id, &basis, article).await?, Article::clone))
    }

    /// Changes the title, whatever else there is, of the state that `if-match` names.
    async fn change(&self, request: Request<Named>) -> Answered<Article> {
        let basis = required(&request);
        let Named { id, article } = request.into_inner();
        let rename = |old: &mut Article| old.title.clone_from(&article.title);
        Ok(response(self.articles.modify_if(&id, &basis, rename).await?, Article::clone))
    }

    /// Deletes the state that `if-match` names.
    async fn delete(&self, request: Request<Id>) -> Answered<Nothing> {
        let basis = required(&request);
        let deleted = self.articles.delete_if(&request.get_ref().id, &basis).await?;
        Ok(response(deleted, |_| Nothing {}))
    }

    /// The ids of the first hundred.
    async fn list(&self, _: Request<Nothing>) -> Answered<Ids> {
        let page = self.articles.scan("", None, 100).await?;
        Ok(Response::new(Ids { ids: page.items.iter().map(|(id, _)| id.to_string()).collect() }))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic::transport::Channel;
    use tonic_types::StatusExt;
    use trial::{CASES, Case, Met};

    use super::*;

    type Client = rpc::articles_client::ArticlesClient<Channel>;

    /// What gRPC has no words for.
    const NOT_EXPRESSED: [(&str, &str); 5] = [
        ("head", "there are no methods, and no answer but with its message"),
        ("text", "a message has no other type; what is no protobuf, tonic refuses before a handler"),
        ("broken", "the same"),
        ("post", "a procedure has one verb"),
        (
            "elsewhere",
            "a client that was generated calls no other procedure; tonic answers `UNIMPLEMENTED` by itself",
        ),
    ];

    /// The code for each status. 200, 201, 204 and 304 are one: whether it was created is not told.
    fn code(case: &Case) -> Code {
        match (case.status, case.reason) {
            (200..=304, _) => Code::Ok,
            (_, "stale") => Code::Aborted,
            (_, "exists") => Code::AlreadyExists,
            (412, _) => Code::FailedPrecondition,
            (404 | 410, _) => Code::NotFound,
            (400 | 428, _) => Code::InvalidArgument,
            other => panic!("{other:?} is not in the table"),
        }
    }

    /// The tag and the title of an answer.
    type Told = Result<(Option<String>, String), Status>;

    fn asking<M>(message: M, headers: &[(&'static str, String)]) -> Request<M> {
        let mut request = Request::new(message);
        for (name, value) in headers {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    async fn ask(client: &mut Client, call: &str, id: &str, headers: &[(&'static str, String)]) -> Told {
        let one = || asking(Id { id: id.to_owned() }, headers);
        let title = if call == "change" { "s3cr3t, too" } else { "s3cr3t" };
        let article = Article { title: title.to_owned() };
        let named = || asking(Named { id: id.to_owned(), article }, headers);
        let told = |tag: Option<&tonic::metadata::AsciiMetadataValue>, title: String| {
            (tag.map(|tag| tag.to_str().unwrap().to_owned()), title)
        };
        if call == "delete" {
            let answer = client.delete(one()).await?;
            return Ok(told(answer.metadata().get("etag"), String::new()));
        }
        let answer = match call {
            "create" => client.create(named()).await?,
            "read" => client.read(one()).await?,
            "replace" => client.replace(named()).await?,
            "change" => client.change(named()).await?,
            other => panic!("{other}"),
        };
        Ok(told(answer.metadata().get("etag"), answer.get_ref().title.clone()))
    }

    /// Makes what a case meets: the tag that stands there, and one from before.
    async fn meet(client: &mut Client, id: &str, met: Met) -> (String, String) {
        if met == Met::Nothing {
            return ("\"1\"".to_owned(), "\"1\"".to_owned());
        }
        let old = ask(client, "create", id, &[]).await.unwrap().0.unwrap();
        let now = ask(client, "replace", id, &[("if-match", old.clone())]).await.unwrap().0.unwrap();
        if met == Met::Deleted {
            ask(client, "delete", id, &[("if-match", now.clone())]).await.unwrap();
        }
        (now, old)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_call_of_the_table_is_answered_as_it_should_be() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tally = Tally::new();
        tokio::spawn(serve(listener, tally.clone()));
        let mut client = Client::connect(format!("http://{address}")).await.unwrap();

        let expressed = |case: &&Case| !NOT_EXPRESSED.iter().any(|(call, _)| *call == case.call);
        for (at, case) in CASES.iter().enumerate().filter(|(_, case)| expressed(case)) {
            let id = format!("case-{at}");
            let (now, old) = meet(&mut client, &id, case.met).await;
            let headers = case.filled(&now, &old);

            let told = ask(&mut client, case.call, &id, &headers).await;

            let shown = format!("{} of {:?} with {headers:?}: {told:?}", case.call, case.met);
            match &told {
                Ok((tag, title)) => {
                    assert_eq!(code(case), Code::Ok, "{shown}");
                    case.hold(&now, tag.as_deref(), &shown);
                    assert_eq!(title.is_empty(), matches!(case.status, 204 | 304), "{shown}");
                }
                Err(status) => {
                    assert_eq!(status.code(), code(case), "{shown}");
                    let details = status.get_error_details();
                    assert_eq!(details.error_info().unwrap().reason, case.reason, "{shown}");
                    let tag = status.metadata().get("etag").map(|tag| tag.to_str().unwrap());
                    case.hold(&now, tag, &shown);
                    assert!(!shown.contains("s3cr3t"), "{shown}");
                }
            }
            // What was refused changed nothing.
            if told.is_err() && case.met == Met::Stands {
                assert_eq!(ask(&mut client, "read", &id, &[]).await.unwrap().0, Some(now));
            }
        }
        let list = client.list(Nothing {}).await.unwrap();
        assert!(list.get_ref().ids.contains(&"case-1".to_owned()));
        let counted = |outcome: &str| {
            let text = tally.to_string();
            let line = format!("ifmatch_requests_total{{outcome=\"{outcome}\"}} ");
            text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse::<usize>().unwrap()
        };
        for reason in ["stale", "exists", "expectation-required", "malformed-precondition"] {
            let asked =
                CASES.iter().filter(expressed).filter(|case| case.status >= 400 && case.reason == reason);
            assert_eq!(counted(reason), asked.count(), "{reason}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_layers_refuse_is_told_in_the_words_of_grpc() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Tally::new()));
        let mut client = Client::connect(format!("http://{address}")).await.unwrap();
        let told = |answer: Told| {
            let status = answer.unwrap_err();
            (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
        };

        let key = [("idempotency-key", "k1".to_owned())];
        let keyed = told(ask(&mut client, "create", "a", &key).await);
        assert_eq!(keyed, (Code::Unimplemented, "key-not-kept".to_owned()));
        let star = [("if-match", "7".to_owned())];
        let malformed = told(ask(&mut client, "replace", "a", &star).await);
        assert_eq!(malformed, (Code::InvalidArgument, "malformed-precondition".to_owned()));
        assert!(ask(&mut client, "create", "a", &[]).await.is_ok(), "what was refused was not applied");
    }

    /// Another layer in front of a service, which knows no gRPC.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_bare_refusal_of_another_layer_is_told_in_the_words_of_grpc() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refusing =
            tower::util::MapResponseLayer::new(|mut response: http::Response<tonic::body::Body>| {
                *response.status_mut() = http::StatusCode::CONFLICT;
                response.headers_mut().clear();
                *response.body_mut() = tonic::body::Body::empty();
                response
            });
        let office = Office { articles: Collection::in_memory() };
        let serving = Server::builder()
            .layer(Problems::new().grpc())
            .layer(refusing)
            .add_service(rpc::articles_server::ArticlesServer::new(office))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        let mut client = Client::connect(format!("http://{address}")).await.unwrap();

        let refused = ask(&mut client, "create", "a", &[]).await.unwrap_err();

        assert_eq!(refused.code(), Code::Aborted);
        let details = refused.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "conflict");
    }
}
