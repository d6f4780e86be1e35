//! [`LAYING`], what makes the tables and the functions of a store.

use super::functions::{CLOSE, COMMIT_MANY, COMMIT_ONE, RESOLVE};

/// What makes the tables and the functions, in this order.
///
/// A function looks for names in PostgreSQL's own schema only, whatever its caller has set.
pub(super) const LAYING: [&str; 7] = [TABLES, ENTER, CLOSE, COMMIT_ONE, COMMIT_MANY, RESOLVE, TRIM];

// The lock is the first statement: whoever waited for it finds everything there.
const TABLES: &str = r#"
SELECT pg_catalog.set_config('lock_timeout', '0', true), pg_catalog.set_config('search_path', 'pg_catalog', true);
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('ifmatch {key}', 0::bigint));
DO $do$ BEGIN
    -- Only then: whoever may not create schemas may still use one.
    IF pg_catalog.to_regnamespace('"{schema}"') IS NULL THEN CREATE SCHEMA "{schema}"; END IF;
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
    -- Which cluster the numbers of transactions in the log are of.
    cluster    bigint NOT NULL,
    -- The newest transaction that left the log, and the highest write id.
    floor      xid8 NOT NULL DEFAULT '0',
    forgotten  bytea,
    -- How many write ids are closed.
    closed     bigint NOT NULL DEFAULT 0
);
CREATE SEQUENCE IF NOT EXISTS {versions} MINVALUE 1 MAXVALUE 549755813887 START {start} NO CYCLE;
"#;

/// Begins a namespace where there is none, and begins a history anew where its rows were carried here from another cluster: by
/// a dump, by replication of their contents, by an upgrade. Their transactions have the numbers of that one. So cursors end,
/// and write ids are forgotten. And the sequence may not have come along: no version may be issued twice.
const ENTER: &str = r#"
CREATE OR REPLACE FUNCTION {enter}(given_namespace text, given_epoch bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    here bigint := {cluster};
    highest bytea;
    newest bigint;
BEGIN
    INSERT INTO {places} (namespace, format, epoch, cluster) VALUES (given_namespace, 1, given_epoch, here)
        ON CONFLICT DO NOTHING;
    PERFORM FROM {places} p WHERE namespace = given_namespace AND NOT {moved};
    IF FOUND THEN
        RETURN;
    END IF;
    -- Whoever comes while another is at it finds it done.
    PERFORM pg_advisory_xact_lock(hashtextextended('enter', hashtextextended('{key}', 1::bigint)));
    PERFORM FROM {places} p WHERE namespace = given_namespace AND NOT {moved};
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT max(version) INTO newest FROM {log} WHERE namespace = given_namespace;
    SELECT write INTO highest FROM {log}
     WHERE namespace = given_namespace AND write IS NOT NULL ORDER BY write DESC LIMIT 1;
    -- The log has the newest versions, but for a few that passed each other. Only where it is empty all are looked at.
    IF newest IS NULL THEN
        SELECT greatest((SELECT max(version) FROM {resources} WHERE namespace = given_namespace),
                        (SELECT max(version) FROM {deleted} WHERE namespace = given_namespace))
          INTO newest;
    END IF;
    -- Far past them: others may be counting on meanwhile.
    IF (newest >> 24) + 1000 >= coalesce(pg_sequence_last_value('{versions}'), 0) THEN
        PERFORM setval('{versions}', (newest >> 24) + 1000000);
    END IF;
    DELETE FROM {log} WHERE namespace = given_namespace;
    UPDATE {places}
       SET epoch = given_epoch, cluster = here, floor = '0', forgotten = greatest(forgotten, highest)
     WHERE namespace = given_namespace;
END
$function$;
"#;

/// Lets go of all but the newest commits of the log and what goes with them. Whoever comes while another is at it does
/// nothing.
const TRIM: &str = r#"
CREATE OR REPLACE FUNCTION {trim}(given_namespace text, given_history bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- No transaction before this one is still under way, so none can leave a commit behind the floor.
    settled xid8 := pg_snapshot_xmin(pg_current_snapshot());
    cut record;
    slice record;
    highest_gone bytea;
    last_gone xid8;
    outdated bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(
        hashtextextended('trim', hashtextextended(given_namespace, hashtextextended('{key}', 1::bigint)))) THEN
        RETURN;
    END IF;
    PERFORM FROM {places} p WHERE namespace = given_namespace AND {moved};
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT l.xid, l.version INTO cut FROM {log} l
     WHERE l.namespace = given_namespace ORDER BY l.xid DESC OFFSET given_history LIMIT 1;
    IF FOUND THEN
        -- Four times what has come since the last time, and no more: all that a long transaction has kept may take longer
        -- than there is time.
        SELECT l.xid, l.version INTO slice FROM {log} l
         WHERE l.namespace = given_namespace ORDER BY l.xid OFFSET greatest(given_history / 4, 32) LIMIT 1;
        IF slice.xid < cut.xid THEN
            cut := slice;
        END IF;
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
