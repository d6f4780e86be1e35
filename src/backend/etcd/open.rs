//! Opening a namespace: the connection, and what the namespace says of itself.

use std::sync::Arc;

use etcd_client::Client;

use super::Etcd;
use super::address::Address;
use super::keys::Keys;
use super::nodes::Nodes;
use super::options::Options;
use super::shared::Shared;
use crate::backend::engine::{ConnectError, Runtime};
use crate::store::Reply;

impl Options {
    /// Opens the namespace in the cluster that a URL names, and lays it where there is none:
    /// `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/PREFIX]`. What a user or password has of `:`, `@`, `/` and `%` is
    /// escaped as `%` and two hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows no part of the login.
    ///
    /// ```no_run
    /// let store = ifmatch::Etcd::options().connect("etcd://ann:secret@localhost/app").wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn connect(self, url: &str) -> Reply<'static, Etcd, ConnectError> {
        match Address::parse(url) {
            Ok(address) => {
                let prefix = address.prefix.unwrap_or_else(|| self.prefix.clone());
                let nodes = Nodes::new(address.endpoints, address.login, self.deadlines.connect);
                Self { prefix, ..self }.open(nodes)
            }
            Err(unusable) => Reply::ready(Err(unusable)),
        }
    }

    /// Opens the namespace through a client of the program's own, for one with TLS. It must live in the tokio runtime that
    /// this is called in. It chooses among its endpoints itself: where it sticks to a dead one, so does the store.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    ///
    /// ```no_run
    /// # async fn open(client: etcd_client::Client) -> Result<(), ifmatch::engine::ConnectError> {
    /// let store = ifmatch::Etcd::options().with_client(client).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_client(self, client: Client) -> Reply<'static, Etcd, ConnectError> {
        self.open(Nodes::of_client(client))
    }

    fn open(self, nodes: Nodes) -> Reply<'static, Etcd, ConnectError> {
        let shared = Keys::new(&self.prefix, &self.namespace).and_then(|keys| {
            let runtime = Runtime::current_or_own().map_err(|error| ConnectError::Usage {
                what: "operating system",
                problem: format!("it gives no thread for the runtime: {error}"),
            })?;
            Ok(Arc::new(Shared::new(nodes, runtime, keys, &self)))
        });
        let shared = match shared {
            Ok(shared) => shared,
            Err(unusable) => return Reply::ready(Err(unusable)),
        };
        let opening = Arc::clone(&shared);
        shared.runtime.reply(async move {
            opening.open(self.require_strict).await?;
            Ok(Etcd { shared: opening })
        })
    }
}
