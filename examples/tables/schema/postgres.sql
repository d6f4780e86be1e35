-- Each version is drawn from a sequence, so that a row which was deleted and made anew has one that it never had. A trigger
-- sets it: it moves also under a writer who bypasses the service, and no statement can forget it.
CREATE SEQUENCE IF NOT EXISTS item_versions;

CREATE TABLE IF NOT EXISTS items (
    id text PRIMARY KEY,
    version bigint NOT NULL,
    name text NOT NULL,
    count bigint NOT NULL
);

CREATE OR REPLACE FUNCTION new_item_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := nextval('item_versions');
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER new_item_version
    BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION new_item_version();
