//! The verbs of HTTP: a table of cases, through `http` alone and through axum, and races over real connections.

mod cases;
mod races;
mod table;
