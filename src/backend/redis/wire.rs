//! [`Wire`], one connection to Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, RedisError, Value};

use super::script;
use super::trouble::Trouble;

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
    /// Connects, logs in, and makes the scripts known: a script that the server must be sent first would cost a call twice
    /// the time.
    pub(super) async fn connect(client: &Client) -> Result<Self, Trouble> {
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
        wire.prepare().await.map_err(connecting)?;
        Ok(wire)
    }

    /// A user may lack the right to load scripts: then each is sent whole where it is first needed.
    async fn prepare(&mut self) -> Result<(), RedisError> {
        let mut preparing = Pipeline::new();
        for source in script::sources() {
            preparing.cmd("SCRIPT").arg("LOAD").arg(source);
        }
        let count = preparing.len();
        self.connection.send_packed_commands(&preparing, 0, count).await?;
        Ok(())
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
