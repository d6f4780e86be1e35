//! [`Trouble`], why a call to etcd has no answer, and what may have become of it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Error as ClientError;

use crate::backend::engine::ConnectError;
use crate::store::{Error, Failure, Outcome, WriteId};

/// The numbers that gRPC gives to what went wrong.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const ALREADY_EXISTS: i32 = 6;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// Why a call to etcd has no answer. No text shows a login.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Trouble {
    /// It can't have been sent.
    #[error("{endpoint} cannot be reached")]
    Unreachable { endpoint: String, source: Cause },
    /// The node has no leader, and said so before it did anything.
    #[error("{endpoint} has no leader")]
    Leaderless { endpoint: String, source: Cause },
    /// The engine has answered, and applied nothing.
    #[error("{endpoint} refused the call")]
    Refused { endpoint: String, source: Cause },
    /// It may have been applied.
    #[error("the answer of {endpoint} was lost")]
    Lost { endpoint: String, source: Cause },
    /// It may have been applied.
    #[error("{endpoint} did not answer within {limit:?}")]
    Late { endpoint: String, limit: Duration },
}

/// What the client said, to all who waited for it. Its own error prints its cause and does not give it.
pub(super) type Cause = Arc<ClientError>;

impl Trouble {
    /// What the client's error says of a call to a node.
    pub(super) fn of(endpoint: &str, error: ClientError) -> Self {
        let (endpoint, source) = (endpoint.to_owned(), Arc::new(error));
        let ClientError::GRpcStatus(status) = &*source else {
            return match &*source {
                ClientError::InvalidArgs(_) | ClientError::InvalidUri(_) | ClientError::EndpointError(_) => {
                    Self::Refused { endpoint, source }
                }
                _ => Self::Lost { endpoint, source },
            };
        };
        if is_refused_connection(status) {
            return Self::Unreachable { endpoint, source };
        }
        // A status with a cause was made up on this side.
        let from_engine = status.source().is_none();
        match status.code() as i32 {
            // The client says the same of an answer that is too long for it.
            OUT_OF_RANGE if from_engine && status.message().starts_with("etcdserver: ") => {
                Self::Refused { endpoint, source }
            }
            UNAVAILABLE if from_engine && status.message() == "etcdserver: no leader" => {
                Self::Leaderless { endpoint, source }
            }
            // Also said of a write that was applied, and was the one that filled it.
            RESOURCE_EXHAUSTED if status.message().contains("database space exceeded") => {
                Self::Lost { endpoint, source }
            }
            INVALID_ARGUMENT | NOT_FOUND | ALREADY_EXISTS | PERMISSION_DENIED | RESOURCE_EXHAUSTED
            | FAILED_PRECONDITION | UNIMPLEMENTED | UNAUTHENTICATED
                if from_engine =>
            {
                Self::Refused { endpoint, source }
            }
            _ => Self::Lost { endpoint, source },
        }
    }

    /// Whether a revision was asked for that was compacted away.
    pub(super) fn is_compacted(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        let ClientError::GRpcStatus(status) = &**source else { return false };
        status.code() as i32 == OUT_OF_RANGE && status.message().contains("compacted")
    }

    /// Whether the node knows the login, but from before the rights were changed.
    pub(super) fn is_stale_login(&self) -> bool {
        let Self::Refused { source, .. } = self else { return false };
        let ClientError::GRpcStatus(status) = &**source else { return false };
        status.message().contains("revision of auth store is old")
    }

    /// Whether a write can have been applied.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable { .. } | Self::Leaderless { .. } | Self::Refused { .. } => Outcome::NotApplied,
            Self::Lost { .. } | Self::Late { .. } => Outcome::Unknown,
        }
    }

    /// As the failure of a write.
    pub(super) fn of_write(self, write: Option<WriteId>) -> Error {
        let outcome = self.outcome();
        let failure = Failure::new(outcome, self);
        match write.filter(|_| outcome == Outcome::Unknown) {
            Some(write) => failure.with_write(write).into(),
            None => failure.into(),
        }
    }

    /// As the failure of what changes nothing.
    pub(super) fn of_read(self) -> Error {
        Failure::new(Outcome::NotApplied, self).into()
    }

    /// As the reason why a store can't be opened.
    pub(super) fn of_opening(self) -> ConnectError {
        match self {
            Self::Refused { source, .. } => {
                ConnectError::Refused { action: "open the namespace", source: Box::new(source) }
            }
            Self::Unreachable { endpoint, source }
            | Self::Leaderless { endpoint, source }
            | Self::Lost { endpoint, source } => {
                ConnectError::Unreachable { endpoint, source: Box::new(source) }
            }
            Self::Late { ref endpoint, .. } => {
                ConnectError::Unreachable { endpoint: endpoint.clone(), source: Box::new(self) }
            }
        }
    }
}

/// Whether no connection came about over which a call could have been sent.
fn is_refused_connection(status: &tonic::Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    fn trouble(status: Status) -> Trouble {
        Trouble::of("one:1", ClientError::GRpcStatus(status))
    }

    #[test]
    fn only_what_the_engine_itself_refused_was_not_applied() {
        let refused = [Code::InvalidArgument, Code::PermissionDenied, Code::ResourceExhausted];
        for code in refused {
            assert_eq!(trouble(Status::new(code, "etcdserver: no")).outcome(), Outcome::NotApplied);
            let mut ours = Status::new(code, "h2 protocol error");
            ours.set_source(std::sync::Arc::new(std::io::Error::other("reset")));
            assert_eq!(trouble(ours).outcome(), Outcome::Unknown);
        }
        for code in
            [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded, Code::Internal]
        {
            let timed_out = Status::new(code, "etcdserver: request timed out");
            assert_eq!(trouble(timed_out).outcome(), Outcome::Unknown);
        }
    }

    #[test]
    fn without_a_connection_or_a_leader_nothing_was_applied() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let unconnected = Status::from_error(Box::new(tonic::ConnectError(Box::new(refused))));
        assert!(matches!(trouble(unconnected), Trouble::Unreachable { .. }));

        let leaderless = trouble(Status::unavailable("etcdserver: no leader"));
        assert_eq!(leaderless.outcome(), Outcome::NotApplied);
        let changed = trouble(Status::unavailable("etcdserver: leader changed"));
        assert_eq!(changed.outcome(), Outcome::Unknown);
    }
}
