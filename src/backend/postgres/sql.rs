//! [`Sql`], every statement that the store sends. With `laying`, the only place where SQL is put together.
//!
//! What comes from outside is bound as a parameter. The names of the tables are the exception, since SQL can't bind
//! them: they are validated before they get here, and quoted.
//!
//! Whoever may create functions can make one whose types fit better than those of PostgreSQL's own, in a schema that is
//! searched. So each function is named with its schema here, and all types are exact.

use tokio_postgres::types::Type;

use super::laying::LAYING;
use super::place::Place;

/// The layout of the tables and of the rows in them.
pub(super) const FORMAT: i16 = 1;

/// One statement, and the types of its parameters, so that it can be sent without asking the engine for them first.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) types: Vec<Type>,
    /// Whether it may be cancelled. One that writes must not be: where a commit waits for a synchronous replica, to cancel it
    /// ends that wait and keeps the commit, which the next statement would tell as applied before the replica has it.
    pub(super) cancels: bool,
}

/// The statements for the tables of one place.
pub(super) struct Sql {
    pub(super) get: Statement,
    pub(super) scan: Statement,
    pub(super) scan_ids: Statement,
    pub(super) check: Statement,
    pub(super) commit_one: Statement,
    pub(super) commit_many: Statement,
    pub(super) resolve: Statement,
    pub(super) trim: Statement,
    pub(super) newest: Statement,
    pub(super) oldest: Statement,
    pub(super) read: Statement,
    /// What stands at the place: its tables and functions, and how they are kept.
    pub(super) survey: Statement,
    pub(super) format: Statement,
    /// What the login may not do, of all that is needed.
    pub(super) rights: Statement,
    pub(super) enter: Statement,
    /// Makes what is missing of the tables and functions, in one transaction. Two may do it at once.
    pub(super) lay: String,
}

/// The settings and the state of the server that the store depends on.
pub(super) const SERVER: &str = "
SELECT pg_catalog.current_setting('server_version_num')::integer,
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('fsync') = 'on',
       pg_catalog.current_setting('full_page_writes') = 'on',
       pg_catalog.current_setting('synchronous_commit') <> 'off',
       pg_catalog.current_setting('transaction_isolation'),
       pg_catalog.current_setting('server_encoding'),
       pg_catalog.current_setting('ifmatch.settings', true) IS NOT DISTINCT FROM 'reached'";

/// What the templates have in common. One may have those after it.
const PIECES: [(&str, &str); 11] = [
    // How a commit begins: with its patience, and alone with its write id.
    (
        "{begin}",
        "IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a commit needs the isolation level read committed' USING ERRCODE = '0A000';
    END IF;
    PERFORM set_config('lock_timeout', given_patience::text, true);
    IF given_write IS NOT NULL AND NOT pg_try_advisory_xact_lock(given_key) THEN
        PERFORM pg_advisory_xact_lock(given_key);
        PERFORM set_config('lock_timeout', {left}, true);
    END IF;",
    ),
    ("{epoch}", "CASE WHEN NOT {moved} THEN p.epoch END"),
    ("{history}", "(p.namespace || ' ' || p.epoch)"),
    // Whether the rows are of another cluster: it is named, or they bear numbers that this one has not come to.
    (
        "{moved}",
        "(p.cluster <> {cluster} OR p.floor >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
          OR EXISTS (SELECT FROM {log} WHERE namespace = p.namespace
                        AND xid >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())))",
    ),
    // Which cluster this is, whose transactions have numbers of their own; and which table there, since clusters that were
    // copied from one are alike.
    (
        "{cluster}",
        "(SELECT system_identifier # '{log}'::pg_catalog.regclass::pg_catalog.oid::bigint
            FROM pg_catalog.pg_control_system())",
    ),
    // What is left of the patience with locks, after a wait: it is for all of them together. In milliseconds; 0 would be no
    // limit.
    (
        "{left}",
        "greatest(1, given_patience - extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)::integer::text",
    ),
    // Whether a write id that is not remembered may be a forgotten one, or is from ahead of the store: the place that it
    // begins with is above the newest version.
    (
        "{outside}",
        "(given_write <= past.forgotten OR substring(given_write FOR 8) > int8send(coalesce(past.newest, 0)))",
    ),
    (
        "{set_back}",
        "RAISE EXCEPTION 'the sequence of versions is behind a version that it gave: it was set back, or lost' \
         USING ERRCODE = '55000';",
    ),
    // The locks of a namespace: one an id, and one a part of them all. Whoever writes few ids holds their parts with
    // others, and whoever writes many holds whole parts alone: a server has room for some 60 locks a connection.
    ("{part}", "({seed} & 2147483647)::integer"),
    ("{seed}", "hashtextextended(given_namespace, hashtextextended('{key}', 0::bigint))"),
    ("{few}", "32"),
];

impl Sql {
    pub(super) fn new(place: &Place) -> Self {
        let fill = |template: &str| {
            let text =
                PIECES.iter().fold(template.to_owned(), |text, (name, piece)| text.replace(name, piece));
            place.fill(&text)
        };
        let statement = |template: &str, types: &[Type]| Statement {
            text: fill(template),
            types: types.to_vec(),
            cancels: true,
        };
        let writing =
            |template: &str, types: &[Type]| Statement { cancels: false, ..statement(template, types) };
        Self {
            get: statement(GET, &[Type::TEXT, Type::TEXT]),
            scan: statement(SCAN, &RANGE),
            scan_ids: statement(SCAN_IDS, &RANGE),
            check: statement(CHECK, &[Type::TEXT, Type::TEXT_ARRAY, Type::CHAR_ARRAY, Type::INT8_ARRAY]),
            commit_one: writing(
                "SELECT * FROM {commit_one}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                &[
                    Type::TEXT,
                    Type::BYTEA,
                    Type::INT8,
                    Type::INT8,
                    Type::BOOL,
                    Type::INT8,
                    Type::INT8,
                    Type::INT4,
                    Type::TEXT,
                    Type::CHAR,
                    Type::CHAR,
                    Type::INT8,
                    Type::INT4,
                    Type::BYTEA,
                ],
            ),
            commit_many: writing(
                "SELECT * FROM {commit_many}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                &[
                    Type::TEXT,
                    Type::BYTEA,
                    Type::INT8,
                    Type::INT8,
                    Type::BOOL,
                    Type::INT8,
                    Type::INT8,
                    Type::INT4,
                    Type::TEXT_ARRAY,
                    Type::CHAR_ARRAY,
                    Type::CHAR_ARRAY,
                    Type::INT8_ARRAY,
                    Type::INT4_ARRAY,
                    Type::BYTEA_ARRAY,
                ],
            ),
            resolve: writing(
                "SELECT * FROM {resolve}($1, $2, $3, $4, $5)",
                &[Type::TEXT, Type::BYTEA, Type::INT8, Type::INT8, Type::INT4],
            ),
            trim: writing("SELECT {trim}($1, $2)", &[Type::TEXT, Type::INT8]),
            newest: statement(NEWEST, &[Type::TEXT, Type::TEXT_ARRAY]),
            oldest: statement(OLDEST, &[Type::TEXT]),
            read: statement(READ_LOG, &[Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT_ARRAY]),
            survey: statement(SURVEY, &[]),
            format: statement("SELECT pg_catalog.max(format) FROM {places}", &[]),
            rights: statement(RIGHTS, &[]),
            enter: writing("SELECT {enter}($1, $2)", &[Type::TEXT, Type::INT8]),
            lay: fill(&LAYING.concat()),
        }
    }
}

const GET: &str = "
SELECT version, format, checksum, value FROM {resources} WHERE namespace = $1 AND id = $2";

/// From `$2` on, without `$3`, to before `$4`.
const SCAN: &str = "
SELECT id, version, format, checksum, value FROM {resources}
 WHERE namespace = $1 AND id >= $2 AND id <> $3 AND id < $4
 ORDER BY id LIMIT $5";

/// The same without the values. A long one stands in a table of its own, which is not read then.
const SCAN_IDS: &str = "
SELECT id, version, format FROM {resources}
 WHERE namespace = $1 AND id >= $2 AND id <> $3 AND id < $4
 ORDER BY id LIMIT $5";

/// The parameters of both.
const RANGE: [Type; 5] = [Type::TEXT, Type::TEXT, Type::TEXT, Type::TEXT, Type::INT8];

/// What stands at each of some ids at one instant, with the value where an expectation does not hold.
const CHECK: &str = r#"
SELECT e.place::integer, t.version, t.format, t.checksum,
       CASE WHEN CASE e.expected
                     WHEN 'a' THEN true
                     WHEN 'n' THEN t.version IS NULL
                     WHEN 'p' THEN t.version IS NOT NULL
                     ELSE t.version IS NOT DISTINCT FROM e.version
                 END THEN NULL ELSE t.value END,
       d.version
  FROM {places} p
 CROSS JOIN ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))
       WITH ORDINALITY AS e (id, expected, version, place)
  LEFT JOIN {resources} t ON t.namespace = $1 AND t.id = e.id
  LEFT JOIN {deleted} d ON t.id IS NULL AND d.namespace = $1 AND d.id = e.id
 WHERE p.namespace = $1
 ORDER BY e.place"#;

/// The newest commit of the log, and whether one of the transactions in `$2` has left a commit there since. No epoch where
/// the rows were carried here from another cluster.
const NEWEST: &str = "
SELECT {epoch}, l.xid::text, l.version, pg_catalog.pg_current_snapshot()::text,
       EXISTS (SELECT FROM {log} WHERE namespace = $1 AND xid = ANY ($2::pg_catalog.xid8[]))
  FROM {places} p
  LEFT JOIN LATERAL (
       SELECT xid, version FROM {log} WHERE namespace = $1 ORDER BY xid DESC LIMIT 1) l ON true
 WHERE p.namespace = $1";

const OLDEST: &str = "
SELECT {epoch}, l.xid::text, l.version, pg_catalog.pg_current_snapshot()::text
  FROM {places} p
  LEFT JOIN LATERAL (
       SELECT xid, version FROM {log} WHERE namespace = $1 ORDER BY xid LIMIT 1) l ON true
 WHERE p.namespace = $1";

/// The commit that comes next for a watcher at a place in the log: the first after its place, or one that was under way
/// then. With its changes, and the values that are still stored.
///
/// No more than one, since what it says of values must be so when it is told.
const READ_LOG: &str = r#"
SELECT {epoch}, p.floor::text, pg_catalog.pg_current_snapshot()::text,
       EXISTS (SELECT FROM {log} WHERE namespace = $1 AND xid = $2::pg_catalog.xid8 AND version = $3),
       l.xid::text, l.version, c.place::integer, c.id, c.deed, t.format, t.checksum, t.value
  FROM {places} p
  LEFT JOIN LATERAL (
       SELECT * FROM (
              (SELECT xid, version, ids, deeds FROM {log}
                WHERE namespace = $1 AND xid = ANY ($4::pg_catalog.xid8[]))
              UNION ALL
              (SELECT xid, version, ids, deeds FROM {log} WHERE namespace = $1 AND xid > $2::pg_catalog.xid8
                ORDER BY xid LIMIT 1)) both_kinds
        ORDER BY xid LIMIT 1) l ON true
  LEFT JOIN LATERAL ROWS FROM (pg_catalog.unnest(l.ids), pg_catalog.unnest(l.deeds))
       WITH ORDINALITY AS c (id, deed, place) ON c.deed IN ('p', 'd')
  LEFT JOIN {resources} t
    ON c.deed = 'p' AND t.namespace = $1 AND t.id = c.id AND t.version = l.version
 WHERE p.namespace = $1
 ORDER BY c.place"#;

/// The rows of the catalogue are found by their numbers: to look through all of it is priced so high where a connection
/// forbids that, that a server compiles the statement first, for seconds.
const SURVEY: &str = "
SELECT pg_catalog.to_regclass('{resources}') IS NOT NULL,
       pg_catalog.to_regclass('{places}') IS NOT NULL,
       pg_catalog.to_regclass('{deleted}') IS NOT NULL AND pg_catalog.to_regclass('{log}') IS NOT NULL
         AND pg_catalog.to_regclass('{closed}') IS NOT NULL AND pg_catalog.to_regclass('{versions}') IS NOT NULL
         AND pg_catalog.to_regproc('{commit_one}') IS NOT NULL AND pg_catalog.to_regproc('{commit_many}') IS NOT NULL
         AND pg_catalog.to_regproc('{close}') IS NOT NULL AND pg_catalog.to_regproc('{resolve}') IS NOT NULL
         AND pg_catalog.to_regproc('{trim}') IS NOT NULL AND pg_catalog.to_regproc('{enter}') IS NOT NULL,
       NOT EXISTS (
           SELECT FROM pg_catalog.pg_class WHERE relpersistence <> 'p' AND oid = ANY (ARRAY[
               pg_catalog.to_regclass('{resources}'), pg_catalog.to_regclass('{deleted}'),
               pg_catalog.to_regclass('{log}'), pg_catalog.to_regclass('{closed}'),
               pg_catalog.to_regclass('{places}'), pg_catalog.to_regclass('{versions}')]::pg_catalog.oid[])),
       (SELECT seqincrement > 0 AND seqcache = 1 AND NOT seqcycle FROM pg_catalog.pg_sequence
         WHERE seqrelid = pg_catalog.to_regclass('{versions}'))";

/// Null where nothing is missing.
const RIGHTS: &str = "
SELECT pg_catalog.string_agg(missing, ', ') FROM (
    SELECT pg_catalog.concat(w.what, ' on ', w.name) AS missing
      FROM (VALUES ('{resources}', 'SELECT'), ('{resources}', 'INSERT'), ('{resources}', 'UPDATE'),
                   ('{resources}', 'DELETE'), ('{deleted}', 'SELECT'), ('{deleted}', 'INSERT'),
                   ('{deleted}', 'UPDATE'), ('{deleted}', 'DELETE'), ('{log}', 'SELECT'), ('{log}', 'INSERT'),
                   ('{log}', 'DELETE'), ('{closed}', 'SELECT'), ('{closed}', 'INSERT'), ('{closed}', 'DELETE'),
                   ('{places}', 'SELECT'), ('{places}', 'INSERT'), ('{places}', 'UPDATE')) AS w (name, what)
     WHERE NOT pg_catalog.has_table_privilege(w.name::pg_catalog.regclass::pg_catalog.oid, w.what)
    UNION ALL
    SELECT pg_catalog.concat(w.what, ' on {versions}') FROM (VALUES ('USAGE'), ('UPDATE')) AS w (what)
     WHERE NOT pg_catalog.has_sequence_privilege('{versions}'::pg_catalog.regclass::pg_catalog.oid, w.what)
    UNION ALL
    SELECT 'EXECUTE on pg_control_system'
     WHERE NOT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')) lacks";
