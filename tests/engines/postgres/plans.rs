//! How the server carries out the statements of the store.

use ifmatch::store::{Scan, WriteId};
use ifmatch::{Commit, Entry, Expected, Start, Store};

use super::{drawn, open, options, server};

#[test]
fn no_statement_reads_a_whole_table_and_none_is_compiled_first() {
    let explained = [
        "fsync=off",
        "session_preload_libraries=auto_explain",
        "auto_explain.log_min_duration=0",
        "auto_explain.log_nested_statements=on",
        "log_line_prefix=",
        // What a plan must cost until it is compiled: so little that only the setting of the store forbids it.
        "jit_above_cost=1",
    ];
    let server = server(&explained);
    let store = open(&options().history(64), server.port);
    let ids: Vec<String> = (0..300).map(|number| number.to_string()).collect();
    let put = |id| Entry::put(id, Expected::Any, (*b"v").into());
    let mut changes = store.watch(Start::Now).wait().unwrap();

    store.commit(ids.iter().map(|id| put(id)).collect()).wait().unwrap();
    let mut write = drawn(&store);
    for id in &ids[..80] {
        let committed = store.commit(Commit::one(put(id)).with_write(write)).wait().unwrap();
        write = WriteId::after(committed.version());
        changes.next().wait().unwrap();
    }
    changes.next().wait().unwrap();
    store.commit(ids[..20].iter().map(|id| Entry::delete(id, Expected::Present)).collect()).wait().unwrap();
    store.commit(ids[20..22].iter().map(|id| Entry::check(id, Expected::Present)).collect()).wait().unwrap();
    store.resolve(write).wait().unwrap();
    store.get("50").wait().unwrap();
    store.scan(Scan::new("", 10)).wait().unwrap();
    store.scan(Scan::new("", 10).without_values()).wait().unwrap();
    open(&options(), server.port);

    let log = server.log();
    let plans: Vec<&str> = log.split("Query Text:").skip(1).collect();
    assert!(plans.len() > 500, "{} plans", plans.len());
    for plan in plans {
        // One row a namespace.
        let reads_all = plan.contains("Seq Scan on") && !plan.contains("Seq Scan on ifmatch_places");
        assert!(!reads_all && !plan.contains("JIT:"), "{plan}");
    }
}
