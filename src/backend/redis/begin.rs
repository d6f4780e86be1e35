//! How a namespace is found, or begun where there is nothing.

use std::sync::Arc;
use std::time::Duration;

use super::answer::ScriptAnswer;
use super::keys::Keys;
use super::link::Link;
use super::script::OPEN;
use super::trouble::Trouble;
use crate::backend::engine::ConnectError;
use crate::base::random;

/// Finds the namespace within a limit of time, or begins it where there is nothing.
pub(super) async fn begin(link: &Arc<Link>, keys: &Keys, limit: Duration) -> Result<(), ConnectError> {
    const ACTION: &str = "run scripts, which need Redis 7 or later";
    let names = [&keys.meta, &keys.ids, &keys.deleted, &keys.log, &keys.writes, &keys.closed];
    let call = OPEN
        .call(&names, 64)
        .argument(format!("{:016x}", random()))
        // A 16th of the numbers there are: the rest is for versions.
        .argument((1 + (random() >> 28)).to_string())
        .argument(&random().to_be_bytes()[..3])
        .repeatable();
    let opening = |trouble: Trouble| trouble.of_opening(ACTION, &link.endpoint());
    let answer = link.call(&call, limit).await.map_err(|undone| opening(undone.trouble))?;
    let mut answer = ScriptAnswer::new(answer).map_err(opening)?;
    match answer.word() {
        "open" => Ok(()),
        "format" => {
            let format = answer.text().unwrap_or_default();
            let found =
                format!("a namespace in format `{}`, and this release knows 1", format.escape_debug());
            Err(ConnectError::Foreign { found })
        }
        "foreign" => {
            let (name, found) = (answer.text().unwrap_or_default(), answer.text().unwrap_or_default());
            Err(ConnectError::Foreign {
                found: format!("at `…:{}` a {}", name.escape_debug(), found.escape_debug()),
            })
        }
        "denied" => {
            let command = answer.text().unwrap_or_default();
            let source = format!("the user may not run {} on its keys", command.escape_debug());
            Err(ConnectError::Refused { action: "let the user do all it must", source: source.into() })
        }
        _ => Err(opening(Trouble::Unexpected)),
    }
}
