//! Articles served by actix-web.
//!
//! Run with `cargo run --bin articles-actix`, in this workspace.

use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, Json, Path, PayloadConfig};
use actix_web::{App, HttpServer};
use ifmatch::http::{Answer, Patch, Preconditions, Required};
use ifmatch::web::actix::problems;
use ifmatch::{Collection, Error};
use serde::{Deserialize, Serialize};

/// The largest body of a request.
const LARGEST_BODY: usize = 64 * 1024;

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

type Articles = Data<Collection<Article>>;
type Answered = Result<Answer<Article>, Error>;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000")?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener)?.await
}

fn serve(listener: TcpListener) -> std::io::Result<Server> {
    let articles = Data::new(Collection::<Article>::in_memory());
    let server = HttpServer::new(move || {
        let all = web::resource("/articles").route(web::get().to(list)).route(web::post().to(create));
        let one = web::resource("/articles/{id}")
            .route(web::get().to(read))
            .route(web::head().to(read))
            .route(web::put().to(replace))
            .route(web::patch().to(change))
            .route(web::delete().to(delete));
        App::new()
            .app_data(articles.clone())
            .app_data(web::JsonConfig::default().limit(LARGEST_BODY))
            .app_data(PayloadConfig::new(LARGEST_BODY))
            .service(all)
            .service(one)
            .wrap(from_fn(problems))
    });
    Ok(server.workers(2).listen(listener)?.run())
}

/// `POST /articles`: 201, or 409 where the id is taken.
async fn create(articles: Articles, known: Preconditions, new: Json<NewArticle>) -> Answered {
    let NewArticle { id, article } = new.into_inner();
    Ok(articles.create_if(&id, &known, article).await?.at("/articles"))
}

/// `GET /articles/{id}`: 200 with the `ETag`, or 304 for who has it already.
async fn read(articles: Articles, id: Path<String>, known: Preconditions) -> Answered {
    articles.get_if(&id, &known).await
}

/// `PUT /articles/{id}`: replaces the state that `If-Match` names, or creates with `If-None-Match: *`.
async fn replace(articles: Articles, id: Path<String>, basis: Required, article: Json<Article>) -> Answered {
    Ok(articles.put_if(&id, &basis, article.into_inner()).await?.at("/articles"))
}

/// `PATCH /articles/{id}` with a merge patch or a JSON patch of the state that `If-Match` names.
async fn change(articles: Articles, id: Path<String>, basis: Required, patch: Patch) -> Answered {
    articles.apply_if(&id, &basis, &patch).await
}

/// `DELETE /articles/{id}`: deletes the state that `If-Match` names.
async fn delete(articles: Articles, id: Path<String>, basis: Required) -> Answered {
    articles.delete_if(&id, &basis).await
}

/// `GET /articles`: the ids of the first hundred.
async fn list(articles: Articles) -> Result<Json<Vec<String>>, Error> {
    let page = articles.scan("", None, 100).await?;
    Ok(Json(page.items.iter().map(|(id, _)| id.to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What actix-web answers by itself, before a handler runs.
    const OTHERWISE: [trial::Otherwise; 1] = [
        // Its `Json` has one status for all that it can't read.
        ("text", 400, "bad-request"),
    ];

    #[actix_web::test]
    async fn every_request_of_the_table_is_answered_as_it_should_be() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener).unwrap();
        let handle = server.handle();
        actix_web::rt::spawn(server);

        web::block(move || trial::drive(address, &OTHERWISE)).await.unwrap();

        handle.stop(false).await;
    }
}
