//! Three resource types in one database, and one error enum of the program's own for all of them.
//!
//! Run with `cargo run --features axum --example shop`; `--port 3000` (0 picks a free port). `PUT /customers/{id}`,
//! `/products/{id}` and `/orders/{id}` replace what `If-Match` names, or create with `If-None-Match: *`. A conflict is
//! answered with the value that won.

use std::error::Error as StdError;
use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, put};
use ifmatch::http::{Answer, Problem, Required};
use ifmatch::store::Resource;
use ifmatch::{Collection, Database, Error};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Serialize, Deserialize)]
struct Customer {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Product {
    price: u32,
}

#[derive(Serialize, Deserialize)]
struct Order {
    customer: String,
    product: String,
}

/// What a handler of the shop fails with: two `From` impls, whatever the resource is and wherever it failed.
enum ShopError {
    /// A precondition, a conflict, a store that failed.
    Store(Error),
    /// A body that cannot be read.
    Body(JsonRejection),
}

impl From<Error> for ShopError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<JsonRejection> for ShopError {
    fn from(rejection: JsonRejection) -> Self {
        Self::Body(rejection)
    }
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        match self {
            // Whoever may write here may read too, so the answer shows the value that won, of whichever type it is.
            Self::Store(error) => Problem::new(error)
                .with_current::<Customer>()
                .with_current::<Product>()
                .with_current::<Order>()
                .into_response(),
            // Its status, and not its text, which may quote the body.
            Self::Body(rejection) => {
                let status = rejection.status().as_u16();
                Problem::of(status, "bad-body", "the body is not what it should be").into_response()
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = match std::env::args().nth(2) {
        Some(port) => port.parse()?,
        None => 3000,
    };
    let shop = Database::in_memory();
    let router = Router::new()
        .nest("/customers", resource::<Customer>(&shop, "customers")?)
        .nest("/products", resource::<Product>(&shop, "products")?)
        .nest("/orders", resource::<Order>(&shop, "orders")?);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

fn resource<T>(shop: &Database, name: &str) -> Result<Router, Error>
where
    T: Resource + Serialize + DeserializeOwned,
{
    Ok(Router::new().route("/{id}", put(save::<T>)).with_state(shop.collection::<T>(name)?))
}

/// `PUT /{id}`: every call fails with the same error, or with that of the body.
async fn save<T: Resource>(
    State(collection): State<Collection<T>>,
    Path(id): Path<String>,
    basis: Required,
    body: Result<Json<T>, JsonRejection>,
) -> Result<Answer<T>, ShopError> {
    let Json(value) = body?;
    Ok(collection.put_if(&id, &basis, value).await?)
}
