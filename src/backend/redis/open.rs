//! Opening a namespace: the connection, what the server promises, and the place of the namespace there.

use std::sync::Arc;

use ::redis::{Client, RedisError};
use parking_lot::Mutex;

use super::begin::begin;
use super::keys::Keys;
use super::link::Link;
use super::options::Options;
use super::shared::Shared;
use super::{Redis, settings};
use crate::backend::engine::{ConnectError, Runtime};
use crate::store::{Durability, Reply};

impl Options {
    /// Opens the namespace on the server at `url`, or begins it where there is nothing.
    ///
    /// `redis://[user[:password]@]host[:port][/database]`, or `redis+unix:///path`. `rediss://` needs the feature
    /// `redis-tls`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows neither the URL nor anything in it but host and port.
    pub fn connect(self, url: impl AsRef<str>) -> Reply<'static, Redis, ConnectError> {
        match Client::open(url.as_ref()) {
            Ok(client) => self.with_client(client),
            Err(error) => Reply::ready(Err(no_url(&error))),
        }
    }

    /// The same with a client that the program has set up, for certificates of its own and the like. The store uses only its
    /// settings, and makes connections of its own.
    ///
    /// ```no_run
    /// use ifmatch::Redis;
    ///
    /// let client = redis::Client::open("redis://127.0.0.1")?;
    /// let store = Redis::options().with_client(client).wait()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_client(self, client: Client) -> Reply<'static, Redis, ConnectError> {
        match Keys::new(&self.prefix, &self.namespace) {
            Ok(keys) => open(client, keys, self),
            Err(error) => Reply::ready(Err(error)),
        }
    }
}

fn open(client: Client, keys: Keys, options: Options) -> Reply<'static, Redis, ConnectError> {
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| {
        Reply::ready(Err(ConnectError::Refused { action: "start", source }))
    };
    let runtime = match Runtime::current_or_own() {
        Ok(runtime) => runtime,
        Err(error) => return refused(error.into()),
    };
    let link = match Link::new(client, keys.meta.clone(), options.deadlines.connect, runtime.handle().clone())
    {
        Ok(link) => Arc::new(link),
        Err(error) => return Reply::ready(Err(no_url(&error))),
    };
    let opening = async move {
        // Opening has the time of connecting, which no call's deadline cuts short.
        let limit = options.deadlines.connect;
        link.wire().await.map_err(|trouble| trouble.of_opening("let us connect", &link.endpoint()))?;
        settings::reach(&link, &keys, limit).await?;
        let durability = settings::durability(&link, limit).await?;
        if let (true, Durability::Relaxed { may_lose }) = (options.strict, durability) {
            return Err(ConnectError::Relaxed { may_lose });
        }
        begin(&link, &keys, limit).await?;
        Ok((link, keys, durability, options))
    };
    runtime.reply(opening).then(|opened| {
        let (link, keys, durability, options) = opened?;
        let Options { deadlines, history, value_limit, .. } = options;
        let hub = Mutex::default();
        let shared = Shared { link, keys, deadlines, history, value_limit, durability, hub, runtime };
        Ok(Redis { shared: Arc::new(shared) })
    })
}

/// What is wrong with a URL, in our words: the driver's own quote parts of it.
fn no_url(error: &RedisError) -> ConnectError {
    let tls = error.to_string().contains("TLS");
    let problem = match tls {
        true => "it asks for TLS, which needs the feature `redis-tls`",
        false => "it is not of the form redis://[user[:password]@]host[:port][/database]",
    };
    ConnectError::Usage { what: "URL", problem: problem.to_owned() }
}
