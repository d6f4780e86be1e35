//! What the settings of a server say about what it keeps.

use ifmatch::Store;
use ifmatch::engine::ConnectError;
use ifmatch::store::Durability;

use super::{STRICT, fresh, say, server, url};

#[test]
fn the_settings_of_the_server_decide_and_are_told() {
    let server = server(&STRICT);
    let durability = || fresh().connect(url(server.port)).wait().unwrap().abilities().durability;
    let strict = || fresh().require_strict().connect(url(server.port)).wait();
    let set = |setting: &str| assert_eq!(say(server.address(), &format!("CONFIG SET {setting}")), "+OK");

    assert_eq!(durability(), Durability::Strict);
    assert!(strict().is_ok());

    let relaxed = [
        ("appendfsync everysec", "everysec"),
        ("appendfsync no", "half minute"),
        ("appendfsync always no-appendfsync-on-rewrite yes", "rewritten"),
        ("appendonly no", "snapshot"),
    ];
    for (setting, word) in relaxed {
        set(setting);
        let Durability::Relaxed { may_lose } = durability() else { panic!("{setting}") };
        assert!(may_lose.contains(word), "{setting}: {may_lose}");
        let Err(ConnectError::Relaxed { may_lose: told }) = strict() else { panic!("{setting}") };
        assert_eq!(told, may_lose);
    }
}

#[test]
fn a_server_that_drops_keys_is_refused() {
    let server = server(&["--appendonly", "no", "--maxmemory", "50mb"]);
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        say(server.address(), &format!("CONFIG SET maxmemory-policy {policy}"));
        let refused = fresh().connect(url(server.port)).wait().unwrap_err();
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(
            matches!(refused, ConnectError::Refused { .. }) && cause.contains(policy),
            "{refused}: {cause}"
        );
    }
    // These drop only keys that expire, and none of ours does.
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
        say(server.address(), &format!("CONFIG SET maxmemory-policy {policy}"));
        fresh().connect(url(server.port)).wait().unwrap();
    }
}
