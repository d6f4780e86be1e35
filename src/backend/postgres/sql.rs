//! [`Sql`], every statement that the store sends: the only place where SQL is put together.
//!
//! What comes from outside is bound as a parameter. The names of the tables are the exception, since SQL can't bind
//! them: they are validated before they get here, and quoted.

use tokio_postgres::types::Type;

use super::place::Place;

/// The layout of the tables and of the rows in them.
pub(super) const FORMAT: i16 = 1;

/// One statement, and the types of its parameters, so that it can be sent without asking the engine for them first.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) types: Vec<Type>,
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
    /// What stands at the place: its tables, its functions, and its format.
    pub(super) survey: Statement,
    pub(super) format: Statement,
    pub(super) enter: Statement,
    /// Makes what is missing of the tables and functions, in one transaction. Two may do it at once.
    pub(super) lay: String,
}

/// The settings and the state of the server that the store depends on.
pub(super) const SERVER: &str = "
SELECT current_setting('server_version_num')::integer,
       pg_catalog.pg_is_in_recovery(),
       current_setting('fsync') = 'on',
       current_setting('full_page_writes') = 'on',
       current_setting('synchronous_commit') <> 'off',
       current_setting('transaction_isolation'),
       current_setting('server_encoding'),
       current_setting('ifmatch.settings', true) IS NOT DISTINCT FROM 'reached'";

/// What makes the tables and the functions, in this order.
const LAYING: [&str; 6] = [TABLES, CLOSE, COMMIT_ONE, COMMIT_MANY, RESOLVE, TRIM];

impl Sql {
    pub(super) fn new(place: &Place) -> Self {
        let fill = |template: &str| place.fill(template);
        let statement =
            |template: &str, types: &[Type]| Statement { text: fill(template), types: types.to_vec() };
        Self {
            get: statement(GET, &[Type::TEXT, Type::TEXT]),
            scan: statement(SCAN, &RANGE),
            scan_ids: statement(SCAN_IDS, &RANGE),
            check: statement(CHECK, &[Type::TEXT, Type::TEXT_ARRAY, Type::CHAR_ARRAY, Type::INT8_ARRAY]),
            commit_one: statement(
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
            commit_many: statement(
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
            resolve: statement(
                "SELECT * FROM {resolve}($1, $2, $3, $4, $5)",
                &[Type::TEXT, Type::BYTEA, Type::INT8, Type::INT8, Type::INT4],
            ),
            trim: statement("SELECT {trim}($1, $2)", &[Type::TEXT, Type::INT8]),
            newest: statement(NEWEST, &[Type::TEXT, Type::TEXT_ARRAY]),
            oldest: statement(OLDEST, &[Type::TEXT]),
            read: statement(READ_LOG, &[Type::TEXT, Type::TEXT, Type::INT8, Type::TEXT_ARRAY, Type::INT8]),
            survey: statement(SURVEY, &[]),
            format: statement("SELECT max(format) FROM {places}", &[]),
            enter: statement(ENTER, &[Type::TEXT, Type::INT8]),
            lay: fill(&LAYING.concat().replace("{left}", LEFT).replace("{outside}", OUTSIDE)),
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
 CROSS JOIN unnest($2, $3, $4) WITH ORDINALITY AS e (id, expected, version, place)
  LEFT JOIN {resources} t ON t.namespace = $1 AND t.id = e.id
  LEFT JOIN {deleted} d ON t.id IS NULL AND d.namespace = $1 AND d.id = e.id
 WHERE p.namespace = $1
 ORDER BY e.place"#;

/// The newest commit of the log, and how many of the transactions in `$2` have left a commit there since.
const NEWEST: &str = "
SELECT p.epoch, l.xid::text, l.version, pg_current_snapshot()::text,
       EXISTS (SELECT FROM {log} WHERE namespace = $1 AND xid = ANY ($2::xid8[]))
  FROM {places} p
  LEFT JOIN LATERAL (
       SELECT xid, version FROM {log} WHERE namespace = $1 ORDER BY xid DESC LIMIT 1) l ON true
 WHERE p.namespace = $1";

const OLDEST: &str = "
SELECT p.epoch, l.xid::text, l.version, pg_current_snapshot()::text
  FROM {places} p
  LEFT JOIN LATERAL (
       SELECT xid, version FROM {log} WHERE namespace = $1 ORDER BY xid LIMIT 1) l ON true
 WHERE p.namespace = $1";

/// The commits that a watcher at a place in the log has not seen: those that come after its place, and those that were
/// under way then; `$5` of them at most. Each with its changes, and the values that are still stored.
const READ_LOG: &str = r#"
SELECT p.epoch, p.floor::text, pg_current_snapshot()::text,
       EXISTS (SELECT FROM {log} WHERE namespace = $1 AND xid = $2::xid8 AND version = $3),
       l.xid::text, l.version, c.place::integer, c.id, c.deed, t.format, t.checksum, t.value
  FROM {places} p
  LEFT JOIN LATERAL (
       SELECT * FROM (
              (SELECT xid, version, ids, deeds FROM {log} WHERE namespace = $1 AND xid = ANY ($4::xid8[]))
              UNION ALL
              (SELECT xid, version, ids, deeds FROM {log} WHERE namespace = $1 AND xid > $2::xid8
                ORDER BY xid LIMIT $5)) both_kinds
        ORDER BY xid LIMIT $5) l ON true
  LEFT JOIN LATERAL unnest(l.ids, l.deeds) WITH ORDINALITY AS c (id, deed, place)
    ON c.deed IN ('p', 'd')
  LEFT JOIN {resources} t
    ON c.deed = 'p' AND t.namespace = $1 AND t.id = c.id AND t.version = l.version
 WHERE p.namespace = $1
 ORDER BY l.xid, c.place"#;

const SURVEY: &str = "
SELECT to_regclass('{resources}') IS NOT NULL,
       to_regclass('{places}') IS NOT NULL,
       to_regclass('{deleted}') IS NOT NULL AND to_regclass('{log}') IS NOT NULL
         AND to_regclass('{closed}') IS NOT NULL AND to_regclass('{versions}') IS NOT NULL
         AND to_regproc('{commit_one}') IS NOT NULL AND to_regproc('{commit_many}') IS NOT NULL
         AND to_regproc('{close}') IS NOT NULL AND to_regproc('{resolve}') IS NOT NULL
         AND to_regproc('{trim}') IS NOT NULL,
       (SELECT relpersistence = 'p' FROM pg_catalog.pg_class WHERE oid = to_regclass('{resources}'))";

/// Begins a namespace where there is none.
///
/// Rows that a dump has carried into another cluster bear transaction numbers of the old one, which this one has not come
/// to yet. Nothing of its own looks so. Such a history is of no use here: its cursors end, and its write ids are forgotten.
const ENTER: &str = "
WITH carried AS (
    UPDATE {places} p
       SET epoch = $2, floor = '0', forgotten = greatest(forgotten, (
           SELECT write FROM {log} WHERE namespace = $1 AND write IS NOT NULL ORDER BY write DESC LIMIT 1))
     WHERE namespace = $1 AND (floor >= pg_snapshot_xmax(pg_current_snapshot()) OR EXISTS (
           SELECT FROM {log} WHERE namespace = $1 AND xid >= pg_snapshot_xmax(pg_current_snapshot())))
    RETURNING p.namespace),
forgotten AS (DELETE FROM {log} WHERE namespace IN (SELECT namespace FROM carried))
INSERT INTO {places} (namespace, format, epoch) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING";

// The lock is the first statement: whoever waited for it finds everything there.
const TABLES: &str = r#"
SELECT pg_advisory_xact_lock(hashtextextended('ifmatch {key}', 0));
DO $do$ BEGIN
    -- Only then: whoever may not create schemas may still use one.
    IF to_regnamespace('"{schema}"') IS NULL THEN CREATE SCHEMA "{schema}"; END IF;
END $do$;
CREATE TABLE IF NOT EXISTS {resources} (
    namespace text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    format     smallint NOT NULL,
    checksum   integer NOT NULL,
    value      bytea NOT NULL,
    PRIMARY KEY (namespace, id)
) WITH (fillfactor = 90);
CREATE TABLE IF NOT EXISTS {deleted} (
    namespace text COLLATE "C" NOT NULL,
    id         text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (namespace, id)
);
CREATE INDEX IF NOT EXISTS {deleted_by_version} ON {deleted} (namespace, version);
CREATE TABLE IF NOT EXISTS {log} (
    namespace  text COLLATE "C" NOT NULL,
    xid         xid8 NOT NULL,
    version     bigint NOT NULL,
    write       bytea,
    fingerprint bigint,
    ids         text[] NOT NULL,
    deeds       "char"[] NOT NULL,
    replaced    bigint[] NOT NULL,
    PRIMARY KEY (namespace, xid)
);
CREATE UNIQUE INDEX IF NOT EXISTS {log_by_write} ON {log} (namespace, write) WHERE write IS NOT NULL;
CREATE TABLE IF NOT EXISTS {closed} (
    namespace text COLLATE "C" NOT NULL,
    write      bytea NOT NULL,
    PRIMARY KEY (namespace, write)
);
CREATE TABLE IF NOT EXISTS {places} (
    namespace text COLLATE "C" PRIMARY KEY,
    format     smallint NOT NULL,
    epoch      bigint NOT NULL,
    -- The newest transaction that left the log, and the highest write id.
    floor      xid8 NOT NULL DEFAULT '0',
    forgotten  bytea,
    -- How many write ids are closed.
    closed     bigint NOT NULL DEFAULT 0
);
CREATE SEQUENCE IF NOT EXISTS {versions} MINVALUE 1 MAXVALUE 549755813887 START {start} NO CYCLE;
"#;

/// What is left of the patience with locks, after a wait: it is for all of them together. In milliseconds; 0 would be no
/// limit.
const LEFT: &str = "
    greatest(1, given_patience - extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000)::integer::text";

/// Whether a write id that is not remembered may be a forgotten one, or is from ahead of the store: the place that it begins
/// with is above the newest version.
const OUTSIDE: &str =
    "(given_write <= past.forgotten OR substring(given_write FOR 8) > int8send(coalesce(past.newest, 0)))";

/// Closes a write id that was never seen, while the caller holds its lock. Tells whether there was room for it: there are
/// never more than `given_history`. The row of the namespace is the last lock that anybody takes.
const CLOSE: &str = r#"
CREATE OR REPLACE FUNCTION {close}(given_namespace text, given_write bytea, given_history bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $function$
BEGIN
    UPDATE {places} SET closed = closed + 1 WHERE namespace = given_namespace AND closed < given_history;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO {closed} (namespace, write) VALUES (given_namespace, given_write);
    RETURN true;
END
$function$;
"#;

/// A commit of one entry.
///
/// Verdicts: `a` applied, `r` applied before under this write id, `o` another commit was, `m` the expectation does not hold,
/// `x` the write id is closed, `u` what became of the write id can't be told, with the newest version, `f` the stored value
/// has a format this function does not know.
///
/// The newest version is the sequence's: it may be one of another namespace, and its random bits are all set.
///
/// A function that changes something sees in each of its statements what was committed before that statement began. So
/// what it reads after it has its locks is the truth until it ends, which is why one round trip is enough.
const COMMIT_ONE: &str = r#"
CREATE OR REPLACE FUNCTION {commit_one}(
    given_namespace text, given_write bytea, given_fingerprint bigint, given_key bigint, given_again boolean,
    given_history bigint, given_tag bigint, given_patience integer, given_id text, given_deed "char",
    given_expected "char", given_version bigint, given_checksum integer, given_value bytea,
    OUT told_verdict "char", OUT told_place integer, OUT told_version bigint, OUT told_replaced bigint,
    OUT told_deleted bigint, OUT told_format smallint, OUT told_checksum integer, OUT told_value bytea)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $function$
DECLARE
    past record;
    strange boolean;
    holds boolean;
    id_key bigint;
    next bigint;
    deed "char" := given_deed;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a commit needs the isolation level read committed' USING ERRCODE = '0A000';
    END IF;
    PERFORM set_config('lock_timeout', given_patience::text, true);
    IF given_write IS NOT NULL AND NOT pg_try_advisory_xact_lock(given_key) THEN
        PERFORM pg_advisory_xact_lock(given_key);
        PERFORM set_config('lock_timeout', {left}, true);
    END IF;
    id_key := hashtextextended(given_id, hashtextextended(given_namespace, hashtextextended('{key}', 0)));
    IF NOT pg_try_advisory_xact_lock(id_key) THEN
        PERFORM pg_advisory_xact_lock(id_key);
        PERFORM set_config('lock_timeout', {left}, true);
    END IF;
    SELECT p.forgotten, pg_sequence_last_value('{versions}') << 24 | 16777215 AS newest, t.version AS found, t.format,
           c.write AS closed, l.version AS logged, l.fingerprint, l.deeds, l.replaced
      INTO past
      FROM {places} p
      LEFT JOIN {resources} t ON t.namespace = given_namespace AND t.id = given_id
      LEFT JOIN {log} l ON l.namespace = given_namespace AND l.write = given_write
      LEFT JOIN {closed} c ON c.namespace = given_namespace AND c.write = given_write
     WHERE p.namespace = given_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tables were emptied' USING ERRCODE = '55000';
    END IF;
    told_place := 1;
    IF past.logged IS NOT NULL AND past.fingerprint IS DISTINCT FROM given_fingerprint THEN
        told_verdict := 'o';
        RETURN;
    END IF;
    IF past.logged IS NOT NULL THEN
        told_verdict := 'r';
        told_replaced := past.replaced[1];
        told_version := CASE past.deeds[1] WHEN 'n' THEN NULL WHEN 'c' THEN told_replaced ELSE past.logged END;
        RETURN;
    END IF;
    -- One that is closed by name certainly never came.
    IF past.closed IS NULL AND {outside} THEN
        told_verdict := 'u';
        told_version := past.newest;
        RETURN;
    END IF;
    -- One that is sent again may have been closed by the conflict that it met before: what it is told waits for that.
    IF past.closed IS NOT NULL AND NOT given_again THEN
        told_verdict := 'x';
        RETURN;
    END IF;
    strange := past.format <> 1 AND (given_expected <> 'v' OR past.found <> given_version);
    holds := CASE given_expected
                 WHEN 'a' THEN true
                 WHEN 'n' THEN past.found IS NULL
                 WHEN 'p' THEN past.found IS NOT NULL
                 ELSE past.found IS NOT DISTINCT FROM given_version
             END;
    -- What was sent before may still be on its way, and must not come true after this answer.
    IF given_again AND past.closed IS NULL AND (strange OR NOT holds) THEN
        IF NOT {close}(given_namespace, given_write, given_history) THEN
            told_verdict := 'u';
            RETURN;
        END IF;
    END IF;
    told_replaced := past.found;
    IF strange THEN
        told_verdict := 'f';
        told_format := past.format;
        told_version := past.found;
        RETURN;
    END IF;
    IF NOT holds THEN
        told_verdict := 'm';
        IF past.found IS NULL THEN
            SELECT version INTO told_deleted FROM {deleted}
             WHERE namespace = given_namespace AND id = given_id;
        ELSE
            SELECT version, format, checksum, value
              INTO told_version, told_format, told_checksum, told_value
              FROM {resources} WHERE namespace = given_namespace AND id = given_id;
        END IF;
        RETURN;
    END IF;
    IF past.closed IS NOT NULL THEN
        told_verdict := 'x';
        RETURN;
    END IF;
    told_verdict := 'a';
    IF deed = 'd' AND past.found IS NULL THEN
        IF given_write IS NULL THEN
            RETURN;
        END IF;
        deed := 'n';
    END IF;
    next := nextval('{versions}') << 24 | given_tag;
    IF deed = 'p' AND past.found IS NOT NULL THEN
        UPDATE {resources} SET version = next, format = 1, checksum = given_checksum, value = given_value
         WHERE namespace = given_namespace AND id = given_id AND version = past.found;
        -- Somebody without our locks was here.
        IF NOT FOUND THEN
            RAISE EXCEPTION 'changed behind the back of the store' USING ERRCODE = '40001';
        END IF;
    ELSIF deed = 'p' THEN
        INSERT INTO {resources} (namespace, id, version, format, checksum, value)
        VALUES (given_namespace, given_id, next, 1, given_checksum, given_value);
    ELSIF deed = 'd' THEN
        DELETE FROM {resources} WHERE namespace = given_namespace AND id = given_id;
        INSERT INTO {deleted} (namespace, id, version) VALUES (given_namespace, given_id, next)
            ON CONFLICT (namespace, id) DO UPDATE SET version = next;
    END IF;
    INSERT INTO {log} (namespace, xid, version, write, fingerprint, ids, deeds, replaced)
    VALUES (given_namespace, pg_current_xact_id(), next, given_write, given_fingerprint, ARRAY[given_id], ARRAY[deed],
            ARRAY[past.found]);
    IF deed <> 'n' THEN
        told_version := next;
    END IF;
END
$function$;
"#;

/// A commit of several entries, judged in the same order and with the same verdicts: one row an entry, and for `m` one row an
/// entry that failed.
const COMMIT_MANY: &str = r#"
CREATE OR REPLACE FUNCTION {commit_many}(
    given_namespace text, given_write bytea, given_fingerprint bigint, given_key bigint, given_again boolean,
    given_history bigint, given_tag bigint, given_patience integer, given_ids text[], given_deeds "char"[],
    given_expected "char"[], given_versions bigint[], given_checksums integer[], given_values bytea[])
RETURNS TABLE (told_verdict "char", told_place integer, told_version bigint, told_replaced bigint,
    told_deleted bigint, told_format smallint, told_checksum integer, told_value bytea)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    past record;
    wanted record;
    judged record;
    next bigint;
    done "char"[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a commit needs the isolation level read committed' USING ERRCODE = '0A000';
    END IF;
    PERFORM set_config('lock_timeout', given_patience::text, true);
    IF given_write IS NOT NULL AND NOT pg_try_advisory_xact_lock(given_key) THEN
        PERFORM pg_advisory_xact_lock(given_key);
        PERFORM set_config('lock_timeout', {left}, true);
    END IF;
    -- In the order of the keys, each once: nobody waits for one who waits for them.
    FOR wanted IN
        SELECT hashtextextended(e.id, hashtextextended(given_namespace, hashtextextended('{key}', 0))) AS key,
               bool_or(e.deed <> 'c') AS writes
          FROM unnest(given_ids, given_deeds) AS e (id, deed) GROUP BY 1 ORDER BY 1
    LOOP
        CONTINUE WHEN wanted.writes AND pg_try_advisory_xact_lock(wanted.key)
            OR NOT wanted.writes AND pg_try_advisory_xact_lock_shared(wanted.key);
        IF wanted.writes THEN
            PERFORM pg_advisory_xact_lock(wanted.key);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(wanted.key);
        END IF;
        PERFORM set_config('lock_timeout', {left}, true);
    END LOOP;
    SELECT p.forgotten, pg_sequence_last_value('{versions}') << 24 | 16777215 AS newest, c.write AS closed,
           l.version AS logged, l.fingerprint, l.deeds, l.replaced
      INTO past
      FROM {places} p
      LEFT JOIN {log} l ON l.namespace = given_namespace AND l.write = given_write
      LEFT JOIN {closed} c ON c.namespace = given_namespace AND c.write = given_write
     WHERE p.namespace = given_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tables were emptied' USING ERRCODE = '55000';
    END IF;
    IF past.logged IS NOT NULL AND past.fingerprint IS DISTINCT FROM given_fingerprint THEN
        told_verdict := 'o';
        RETURN NEXT;
        RETURN;
    END IF;
    IF past.logged IS NOT NULL THEN
        RETURN QUERY SELECT 'r'::"char", e.place::integer,
               CASE e.deed WHEN 'n' THEN NULL WHEN 'c' THEN e.found ELSE past.logged END, e.found,
               NULL::bigint, NULL::smallint, NULL::integer, NULL::bytea
          FROM unnest(past.deeds, past.replaced) WITH ORDINALITY AS e (deed, found, place);
        RETURN;
    END IF;
    IF past.closed IS NULL AND {outside} THEN
        told_verdict := 'u';
        told_version := past.newest;
        RETURN NEXT;
        RETURN;
    END IF;
    IF past.closed IS NOT NULL AND NOT given_again THEN
        told_verdict := 'x';
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT array_agg(t.version ORDER BY e.place) AS found,
           array_agg(CASE WHEN e.deed = 'd' AND t.version IS NULL THEN 'n' ELSE e.deed END ORDER BY e.place) AS done,
           bool_or(t.format <> 1 AND (e.expected <> 'v' OR t.version <> e.version)) AS strange,
           bool_and(CASE e.expected
                        WHEN 'a' THEN true
                        WHEN 'n' THEN t.version IS NULL
                        WHEN 'p' THEN t.version IS NOT NULL
                        ELSE t.version IS NOT DISTINCT FROM e.version
                    END) AS holds
      INTO judged
      FROM unnest(given_ids, given_deeds, given_expected, given_versions) WITH ORDINALITY
           AS e (id, deed, expected, version, place)
      LEFT JOIN {resources} t ON t.namespace = given_namespace AND t.id = e.id;
    IF given_again AND past.closed IS NULL AND (judged.strange OR NOT judged.holds) THEN
        IF NOT {close}(given_namespace, given_write, given_history) THEN
            told_verdict := 'u';
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    IF judged.strange THEN
        RETURN QUERY SELECT 'f'::"char", e.place::integer, t.version, NULL::bigint, NULL::bigint, t.format,
               NULL::integer, NULL::bytea
          FROM unnest(given_ids, given_expected, given_versions) WITH ORDINALITY AS e (id, expected, version, place)
          JOIN {resources} t ON t.namespace = given_namespace AND t.id = e.id
         WHERE t.format <> 1 AND (e.expected <> 'v' OR t.version <> e.version)
         ORDER BY e.place LIMIT 1;
        RETURN;
    END IF;
    IF NOT judged.holds THEN
        RETURN QUERY SELECT 'm'::"char", e.place::integer, t.version, t.version, d.version, t.format, t.checksum,
               t.value
          FROM unnest(given_ids, given_expected, given_versions) WITH ORDINALITY AS e (id, expected, version, place)
          LEFT JOIN {resources} t ON t.namespace = given_namespace AND t.id = e.id
          LEFT JOIN {deleted} d ON t.id IS NULL AND d.namespace = given_namespace AND d.id = e.id
         WHERE NOT CASE e.expected
                       WHEN 'a' THEN true
                       WHEN 'n' THEN t.version IS NULL
                       WHEN 'p' THEN t.version IS NOT NULL
                       ELSE t.version IS NOT DISTINCT FROM e.version
                   END
         ORDER BY e.place;
        RETURN;
    END IF;
    IF past.closed IS NOT NULL THEN
        told_verdict := 'x';
        RETURN NEXT;
        RETURN;
    END IF;
    done := judged.done;
    IF given_write IS NOT NULL OR 'p' = ANY (done) OR 'd' = ANY (done) THEN
        next := nextval('{versions}') << 24 | given_tag;
        INSERT INTO {resources} AS t (namespace, id, version, format, checksum, value)
        SELECT given_namespace, e.id, next, 1, e.checksum, e.value
          FROM unnest(given_ids, done, given_checksums, given_values) AS e (id, deed, checksum, value)
         WHERE e.deed = 'p'
            ON CONFLICT (namespace, id) DO UPDATE
           SET version = excluded.version, format = 1, checksum = excluded.checksum, value = excluded.value;
        IF 'd' = ANY (done) THEN
            DELETE FROM {resources} t
             USING unnest(given_ids, done) AS e (id, deed)
             WHERE e.deed = 'd' AND t.namespace = given_namespace AND t.id = e.id;
            INSERT INTO {deleted} (namespace, id, version)
            SELECT given_namespace, e.id, next FROM unnest(given_ids, done) AS e (id, deed) WHERE e.deed = 'd'
                ON CONFLICT (namespace, id) DO UPDATE SET version = excluded.version;
        END IF;
        INSERT INTO {log} (namespace, xid, version, write, fingerprint, ids, deeds, replaced)
        VALUES (given_namespace, pg_current_xact_id(), next, given_write, given_fingerprint, given_ids, done,
                judged.found);
    END IF;
    RETURN QUERY SELECT 'a'::"char", e.place::integer,
           CASE e.deed WHEN 'n' THEN NULL WHEN 'c' THEN e.found ELSE next END, e.found,
           NULL::bigint, NULL::smallint, NULL::integer, NULL::bytea
      FROM unnest(done, judged.found) WITH ORDINALITY AS e (deed, found, place);
END
$function$;
"#;

/// What became of a write id; one that never came is closed. Verdicts: `r`, `x`, `u` as above, `r` with a row an entry.
const RESOLVE: &str = r#"
CREATE OR REPLACE FUNCTION {resolve}(
    given_namespace text, given_write bytea, given_key bigint, given_history bigint, given_patience integer)
RETURNS TABLE (told_verdict "char", told_place integer, told_version bigint, told_replaced bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    past record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'to resolve needs the isolation level read committed' USING ERRCODE = '0A000';
    END IF;
    PERFORM set_config('lock_timeout', given_patience::text, true);
    -- The commit may be under way: its answer is known once it lets go of the lock.
    PERFORM pg_advisory_xact_lock(given_key);
    SELECT p.forgotten, pg_sequence_last_value('{versions}') << 24 | 16777215 AS newest, c.write AS closed,
           l.version AS logged, l.deeds, l.replaced
      INTO past
      FROM {places} p
      LEFT JOIN {log} l ON l.namespace = given_namespace AND l.write = given_write
      LEFT JOIN {closed} c ON c.namespace = given_namespace AND c.write = given_write
     WHERE p.namespace = given_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tables were emptied' USING ERRCODE = '55000';
    END IF;
    IF past.logged IS NOT NULL THEN
        told_verdict := 'r';
        -- A row of its own, since a commit may have had no entries.
        RETURN NEXT;
        RETURN QUERY SELECT 'r'::"char", e.place::integer,
               CASE e.deed WHEN 'n' THEN NULL WHEN 'c' THEN e.found ELSE past.logged END,
               e.found
          FROM unnest(past.deeds, past.replaced) WITH ORDINALITY AS e (deed, found, place);
        RETURN;
    END IF;
    IF past.closed IS NOT NULL THEN
        told_verdict := 'x';
    ELSIF {outside} THEN
        told_verdict := 'u';
    ELSIF {close}(given_namespace, given_write, given_history) THEN
        told_verdict := 'x';
    ELSE
        told_verdict := 'u';
    END IF;
    RETURN NEXT;
END
$function$;
"#;

/// Lets go of all but the newest commits of the log and what goes with them. Whoever comes while another is at it does
/// nothing.
const TRIM: &str = r#"
CREATE OR REPLACE FUNCTION {trim}(given_namespace text, given_history bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $function$
DECLARE
    -- No transaction before this one is still under way, so none can leave a commit behind the floor.
    settled xid8 := pg_snapshot_xmin(pg_current_snapshot());
    cut record;
    highest_gone bytea;
    last_gone xid8;
    outdated bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(
        hashtextextended('trim', hashtextextended(given_namespace, hashtextextended('{key}', 1)))) THEN
        RETURN;
    END IF;
    SELECT l.xid, l.version INTO cut FROM {log} l
     WHERE l.namespace = given_namespace ORDER BY l.xid DESC OFFSET given_history LIMIT 1;
    IF FOUND THEN
        WITH gone AS (
            DELETE FROM {log} l
             WHERE l.namespace = given_namespace AND l.xid <= cut.xid AND l.xid < settled
            RETURNING l.xid, l.write)
        SELECT (SELECT write FROM gone WHERE write IS NOT NULL ORDER BY write DESC LIMIT 1),
               (SELECT xid FROM gone ORDER BY xid DESC LIMIT 1)
          INTO highest_gone, last_gone;
        DELETE FROM {deleted} d
         USING (SELECT id FROM {deleted}
                 WHERE namespace = given_namespace AND version <= cut.version
                   FOR UPDATE SKIP LOCKED) old
         WHERE d.namespace = given_namespace AND d.id = old.id AND d.version <= cut.version;
        -- What is not above the forgotten ones is refused anyway.
        DELETE FROM {closed} c
         WHERE c.namespace = given_namespace
           AND c.write <= greatest(highest_gone, (SELECT forgotten FROM {places} WHERE namespace = given_namespace));
        GET DIAGNOSTICS outdated = ROW_COUNT;
        -- Last: whoever closes a write id waits for this row.
        UPDATE {places}
           SET floor = greatest(floor, last_gone), forgotten = greatest(forgotten, highest_gone),
               closed = closed - outdated
         WHERE namespace = given_namespace;
    END IF;
END
$function$;
"#;
