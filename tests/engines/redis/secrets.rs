//! Nothing shows a password, a user or a URL.

use std::error::Error as StdError;

use ifmatch::engine::ConnectError;
use ifmatch::{Entry, Expected, Redis, Store};

use super::{fresh, say, server, short};
use crate::server::free_port;

const SECRET: &str = "s3cr3t";

fn texts(error: &(dyn StdError + 'static)) -> String {
    let mut texts = format!("{error:?}");
    let mut cause = Some(error);
    while let Some(error) = cause {
        texts += &format!("\n{error}\n{error:?}");
        cause = error.source();
    }
    texts
}

fn refused(url: &str) -> ConnectError {
    let error = fresh().deadlines(short()).connect(url).wait().unwrap_err();
    assert!(!texts(&error).contains(SECRET), "{}", texts(&error));
    error
}

#[test]
fn errors_of_connecting_show_no_credentials() {
    let server = server(&["--appendonly", "no", "--requirepass", "another"]);
    let port = server.port;
    let dead = refused(&format!("redis://user:{SECRET}@127.0.0.1:{}", free_port()));
    assert!(
        matches!(&dead, ConnectError::Unreachable { endpoint, .. } if endpoint.starts_with("127.0.0.1:"))
    );
    let wrong = refused(&format!("redis://:{SECRET}@127.0.0.1:{port}"));
    assert!(matches!(wrong, ConnectError::Refused { .. }), "{wrong}");
    let wrong = refused(&format!("redis://{SECRET}:{SECRET}@127.0.0.1:{port}"));
    assert!(matches!(wrong, ConnectError::Refused { .. }), "{wrong}");
    for bad in [
        format!("http://{SECRET}@host"),
        SECRET.to_owned(),
        format!("redis://{SECRET}:{SECRET}@host:x/{SECRET}"),
    ] {
        assert!(matches!(refused(&bad), ConnectError::Usage { .. }), "{bad}");
    }
    let options = Redis::options().namespace("x");
    assert!(!format!("{options:?}").contains(SECRET));
}

#[test]
fn a_store_behind_a_login_works_and_shows_none_of_it() {
    let server = server(&["--appendonly", "no"]);
    let acl = format!("ACL SETUSER keeper on >{SECRET} ~ifmatch:{{vault}}:* +@all -@admin -@dangerous +info");
    assert_eq!(say(server.address(), &acl), "+OK");
    let url = format!("redis://keeper:{SECRET}@127.0.0.1:{}", server.port);

    let store = Redis::options().namespace("vault").connect(&url).wait().unwrap();
    store.commit(ifmatch::Commit::one(Entry::put("a", Expected::Absent, (*b"v").into()))).wait().unwrap();

    assert!(!format!("{store:?} {:?}", store.abilities()).contains(SECRET));
    assert!(!format!("{store:?}").contains("keeper"));
    // It may not ask for the settings.
    let strict = Redis::options().namespace("vault").require_strict().connect(&url).wait().unwrap_err();
    assert!(matches!(strict, ConnectError::Relaxed { may_lose } if may_lose.contains("does not tell")));
    // Nor touch another namespace.
    let other = refused(&url);
    assert!(matches!(other, ConnectError::Refused { .. }), "{other}");
}

#[test]
fn a_user_that_may_not_write_all_that_a_commit_needs_is_refused_at_once() {
    let server = server(&["--appendonly", "no"]);
    for (number, missing) in ["xadd", "set", "zadd", "unlink", "xtrim"].into_iter().enumerate() {
        let acl = format!("ACL SETUSER user{number} on >{SECRET} ~* +@all -{missing}");
        assert_eq!(say(server.address(), &acl), "+OK");
        let error = refused(&format!("redis://user{number}:{SECRET}@127.0.0.1:{}", server.port));
        assert!(texts(&error).to_lowercase().contains(missing), "{}", texts(&error));
    }
}
