//! [`Wire`], one connection to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, RedisError, Value};

use super::trouble::Trouble;
use super::{script, settings};

/// How many commands may wait to be written to one connection before callers wait.
const QUEUED: usize = 1024;

/// One connection.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    /// Set as soon as the connection is seen to be broken: whoever sees it before sending has sent nothing.
    broken: Arc<AtomicBool>,
}

impl Wire {
    /// Connects, logs in, and looks at the server; `meta` is the key by which to tell whether the namespace lives there.
    pub(super) async fn connect(client: &Client, meta: &str) -> Result<Self, Trouble> {
        let endpoint = client.get_connection_info().addr().to_string();
        let connecting = |error: RedisError| Trouble::connecting(&endpoint, &error);
        let broken = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&broken);
        let note = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                noted.store(true, Ordering::Relaxed);
            }
            Ok::<_, ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUED)
            .set_push_sender(note);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await;
        let mut wire = Self { connection: connection.map_err(connecting)?, broken };
        let (found, told) = wire.prepare(meta).await.map_err(connecting)?;
        let elsewhere = found.extract_error().is_err_and(|error| error.code() == Some("MOVED"));
        // Which node of a cluster keeps the namespace, this one will say to whoever asks for it.
        if !elsewhere {
            settings::fit(told.extract_error())?;
        }
        Ok(wire)
    }

    /// What the server says of the namespace and of itself. It also makes the scripts known: one that must be sent whole
    /// first would cost a call twice the time.
    async fn prepare(&mut self, meta: &str) -> Result<(Value, Value), RedisError> {
        let mut preparing = Pipeline::new();
        preparing.cmd("HGET").arg(meta).arg("format").add_command(settings::question());
        for source in script::sources() {
            // A user may lack the right to: then each is sent whole where it is first needed.
            preparing.cmd("SCRIPT").arg("LOAD").arg(source);
        }
        let count = preparing.len();
        let mut answers = self.connection.send_packed_commands(&preparing, 0, count).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        Ok((next(), next()))
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Lets nobody use it any more.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Sends one command, without a limit of time.
    pub(super) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.send_packed_command(command).await?.extract_error()
    }
}
