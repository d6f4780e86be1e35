-- Readers and a writer don't wait for one another.
PRAGMA journal_mode = WAL;

-- SQLite has no sequence: the last version stands in a row of its own. So a row that was deleted and made anew has a version
-- that it never had.
CREATE TABLE IF NOT EXISTS item_versions (last integer NOT NULL);
INSERT INTO item_versions SELECT 0 WHERE NOT EXISTS (SELECT * FROM item_versions);

CREATE TABLE IF NOT EXISTS items (
    id text PRIMARY KEY NOT NULL,
    version integer NOT NULL DEFAULT 0,
    name text NOT NULL,
    count integer NOT NULL
);

-- Triggers set the version: it moves also under a writer who bypasses the service, and no statement can forget it. They run
-- after what `RETURNING` shows: read the row again.
CREATE TRIGGER IF NOT EXISTS version_of_new_item AFTER INSERT ON items
BEGIN
    UPDATE item_versions SET last = last + 1;
    UPDATE items SET version = (SELECT last FROM item_versions) WHERE id = NEW.id;
END;

CREATE TRIGGER IF NOT EXISTS version_of_changed_item AFTER UPDATE ON items WHEN NEW.version = OLD.version
BEGIN
    UPDATE item_versions SET last = last + 1;
    UPDATE items SET version = (SELECT last FROM item_versions) WHERE id = NEW.id;
END;
