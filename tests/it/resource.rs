//! A whole resource behind axum: its routes, its stream of changes, and races over real connections.

mod events;
mod races;
mod routes;
