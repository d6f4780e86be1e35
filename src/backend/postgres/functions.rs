//! The functions of a commit, and of what became of one.

/// Closes a write id that was never seen, while the caller holds its lock. Tells whether there was room for it: there are
/// never more than `given_history`. The row of the namespace is the last lock that anybody takes.
pub(super) const CLOSE: &str = r#"
CREATE OR REPLACE FUNCTION {close}(given_namespace text, given_write bytea, given_history bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = pg_catalog, pg_temp AS $function$
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
/// has a format this function does not know, `w` the rows were carried here from another cluster, and are to be entered anew.
///
/// The newest version is the sequence's: it may be one of another namespace, and its random bits are all set.
///
/// A function that changes something sees in each of its statements what was committed before that statement began. So
/// what it reads after it has its locks is the truth until it ends, which is why one round trip is enough.
pub(super) const COMMIT_ONE: &str = r#"
CREATE OR REPLACE FUNCTION {commit_one}(
    given_namespace text, given_write bytea, given_fingerprint bigint, given_key bigint, given_again boolean,
    given_history bigint, given_tag bigint, given_patience integer, given_id text, given_deed "char",
    given_expected "char", given_version bigint, given_checksum integer, given_value bytea,
    OUT told_verdict "char", OUT told_place integer, OUT told_version bigint, OUT told_replaced bigint,
    OUT told_deleted bigint, OUT told_format smallint, OUT told_checksum integer, OUT told_value bytea)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    past record;
    strange boolean;
    holds boolean;
    id_key bigint;
    next bigint;
    deed "char" := given_deed;
BEGIN
    {begin}
    id_key := hashtextextended(given_id, {seed});
    IF NOT pg_try_advisory_xact_lock_shared({part}, (id_key >> 58)::integer) THEN
        PERFORM pg_advisory_xact_lock_shared({part}, (id_key >> 58)::integer);
        PERFORM set_config('lock_timeout', {left}, true);
    END IF;
    IF NOT pg_try_advisory_xact_lock(id_key) THEN
        PERFORM pg_advisory_xact_lock(id_key);
        PERFORM set_config('lock_timeout', {left}, true);
    END IF;
    SELECT p.forgotten, {history} AS history, pg_sequence_last_value('{versions}') << 24 | 16777215 AS newest, t.version AS found, t.format,
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
    -- A connection asks once a history: it can't come to another cluster.
    IF current_setting('ifmatch.history', true) IS DISTINCT FROM past.history THEN
        IF (SELECT {moved} FROM {places} p WHERE p.namespace = given_namespace) THEN
            told_verdict := 'w';
            RETURN;
        END IF;
        PERFORM set_config('ifmatch.history', past.history, false);
    END IF;
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
    IF next <= coalesce(past.found, (
           SELECT version FROM {deleted} WHERE namespace = given_namespace AND id = given_id)) THEN
        {set_back}
    END IF;
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
pub(super) const COMMIT_MANY: &str = r#"
CREATE OR REPLACE FUNCTION {commit_many}(
    given_namespace text, given_write bytea, given_fingerprint bigint, given_key bigint, given_again boolean,
    given_history bigint, given_tag bigint, given_patience integer, given_ids text[], given_deeds "char"[],
    given_expected "char"[], given_versions bigint[], given_checksums integer[], given_values bytea[])
RETURNS TABLE (told_verdict "char", told_place integer, told_version bigint, told_replaced bigint,
    told_deleted bigint, told_format smallint, told_checksum integer, told_value bytea)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    past record;
    wanted record;
    judged record;
    next bigint;
    done "char"[];
BEGIN
    {begin}
    -- Parts and keys in one order, a part before the keys in it: nobody waits for one who waits for them.
    FOR wanted IN
        SELECT k.key >> 58 AS part, CASE WHEN cardinality(given_ids) > {few} THEN NULL ELSE k.key END AS key,
               bool_or(k.writes) AS writes
          FROM (SELECT hashtextextended(e.id, {seed}) AS key, e.deed <> 'c' AS writes
                  FROM unnest(given_ids, given_deeds) AS e (id, deed)) k
         GROUP BY 1, 2 ORDER BY 1, 2
    LOOP
        IF wanted.key IS NULL THEN
            CONTINUE WHEN pg_try_advisory_xact_lock({part}, wanted.part::integer);
            PERFORM pg_advisory_xact_lock({part}, wanted.part::integer);
            PERFORM set_config('lock_timeout', {left}, true);
            CONTINUE;
        END IF;
        IF NOT pg_try_advisory_xact_lock_shared({part}, wanted.part::integer) THEN
            PERFORM pg_advisory_xact_lock_shared({part}, wanted.part::integer);
            PERFORM set_config('lock_timeout', {left}, true);
        END IF;
        CONTINUE WHEN wanted.writes AND pg_try_advisory_xact_lock(wanted.key)
            OR NOT wanted.writes AND pg_try_advisory_xact_lock_shared(wanted.key);
        IF wanted.writes THEN
            PERFORM pg_advisory_xact_lock(wanted.key);
        ELSE
            PERFORM pg_advisory_xact_lock_shared(wanted.key);
        END IF;
        PERFORM set_config('lock_timeout', {left}, true);
    END LOOP;
    SELECT p.forgotten, {history} AS history, pg_sequence_last_value('{versions}') << 24 | 16777215 AS newest, c.write AS closed,
           l.version AS logged, l.fingerprint, l.deeds, l.replaced
      INTO past
      FROM {places} p
      LEFT JOIN {log} l ON l.namespace = given_namespace AND l.write = given_write
      LEFT JOIN {closed} c ON c.namespace = given_namespace AND c.write = given_write
     WHERE p.namespace = given_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tables were emptied' USING ERRCODE = '55000';
    END IF;
    -- A connection asks once a history: it can't come to another cluster.
    IF current_setting('ifmatch.history', true) IS DISTINCT FROM past.history THEN
        IF (SELECT {moved} FROM {places} p WHERE p.namespace = given_namespace) THEN
            told_verdict := 'w';
            RETURN NEXT;
            RETURN;
        END IF;
        PERFORM set_config('ifmatch.history', past.history, false);
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
                    END) AS holds,
           max(coalesce(t.version, d.version)) FILTER (WHERE e.deed <> 'c') AS newest
      INTO judged
      FROM unnest(given_ids, given_deeds, given_expected, given_versions) WITH ORDINALITY
           AS e (id, deed, expected, version, place)
      LEFT JOIN {resources} t ON t.namespace = given_namespace AND t.id = e.id
      LEFT JOIN {deleted} d ON t.id IS NULL AND d.namespace = given_namespace AND d.id = e.id;
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
        IF next <= judged.newest THEN
            {set_back}
        END IF;
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
pub(super) const RESOLVE: &str = r#"
CREATE OR REPLACE FUNCTION {resolve}(
    given_namespace text, given_write bytea, given_key bigint, given_history bigint, given_patience integer)
RETURNS TABLE (told_verdict "char", told_place integer, told_version bigint, told_replaced bigint)
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET search_path = pg_catalog, pg_temp AS $function$
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
    SELECT p.forgotten, {history} AS history, pg_sequence_last_value('{versions}') << 24 | 16777215 AS newest, c.write AS closed,
           l.version AS logged, l.deeds, l.replaced
      INTO past
      FROM {places} p
      LEFT JOIN {log} l ON l.namespace = given_namespace AND l.write = given_write
      LEFT JOIN {closed} c ON c.namespace = given_namespace AND c.write = given_write
     WHERE p.namespace = given_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tables were emptied' USING ERRCODE = '55000';
    END IF;
    -- A connection asks once a history: it can't come to another cluster.
    IF current_setting('ifmatch.history', true) IS DISTINCT FROM past.history THEN
        IF (SELECT {moved} FROM {places} p WHERE p.namespace = given_namespace) THEN
            told_verdict := 'w';
            RETURN NEXT;
            RETURN;
        END IF;
        PERFORM set_config('ifmatch.history', past.history, false);
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
