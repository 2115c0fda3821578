-- Key rotation, retention, erasing, pauses after a restore, and who is at work while a newer version migrates.

-- Who is at work -------------------------------------------------------------------------------------------------------

-- Long-lived processes (servers, workers) with a fresh sign of life: the schema that their code knows, the master keys
-- that they could unwrap with, and when they last read the projects' keys. No project's data is in here.
CREATE TABLE processes (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('server', 'worker')),
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    schema text NOT NULL,
    master_keys text[] NOT NULL DEFAULT '{}',
    keys_read_at timestamptz,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON processes TO isthmus_system;

-- The oldest code that may still work on this database. Migrations that only add leave it alone; those that take
-- something away (contract migrations, run by `isthmus migrate --finish`) raise it.
CREATE TABLE compatibility (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    oldest_schema text NOT NULL
);
INSERT INTO compatibility (oldest_schema) VALUES ('0006');

CREATE TABLE finished_migrations (
    name text PRIMARY KEY,
    finished_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON compatibility, finished_migrations TO isthmus_app, isthmus_system;

-- Keys -----------------------------------------------------------------------------------------------------------------

-- Master keys by id (the start of their hash), the newest last: while two are here, a rotation is under way.
CREATE TABLE master_keys (
    id text PRIMARY KEY,
    current_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON master_keys TO isthmus_system;

-- A data key opens what it sealed from the moment it is there; it seals from this instant on (null: not yet), so that every
-- process knows it before anything depends on it.
ALTER TABLE project_keys ADD COLUMN seals_since timestamptz DEFAULT now();

-- After a restore ------------------------------------------------------------------------------------------------------

-- A database that came out of a backup: when the backup was made, and until when a write is looked for before it is
-- sent, because it may have been sent between the backup and the restore.
CREATE TABLE restored (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    backup_id text NOT NULL,
    backup_made_at timestamptz NOT NULL,
    restored_at timestamptz NOT NULL,
    guard_until timestamptz NOT NULL,
    reconciled_at timestamptz,
    findings jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE pauses (
    what text PRIMARY KEY CHECK (what IN ('writes', 'tokens', 'deliveries')),
    since timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT ON restored, pauses TO isthmus_app;
GRANT SELECT, UPDATE ON restored TO isthmus_system;
GRANT SELECT, DELETE ON pauses TO isthmus_system;

-- No operation becomes *sent* and no destination is drained while that is paused, whichever code asks for it. IS001 is
-- told as PausedAfterRestore (store.database).
CREATE FUNCTION refuse_while_paused() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM pauses WHERE what = TG_ARGV[0]) THEN
        RAISE EXCEPTION 'paused after a restore: %', TG_ARGV[0] USING ERRCODE = 'IS001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER operations_while_paused BEFORE INSERT OR UPDATE OF state ON operations
    FOR EACH ROW WHEN (NEW.state = 'sent') EXECUTE FUNCTION refuse_while_paused('writes');
CREATE TRIGGER destinations_while_paused BEFORE UPDATE OF drainer ON destinations
    FOR EACH ROW WHEN (NEW.drainer IS NOT NULL AND NEW.fence > OLD.fence)
    EXECUTE FUNCTION refuse_while_paused('deliveries');

-- Retention and erasing ------------------------------------------------------------------------------------------------

-- `days`: kind of data → days kept, null for ever; what is missing has its default. `report`: what the last round did.
CREATE TABLE retention (
    project_id uuid PRIMARY KEY REFERENCES projects ON DELETE CASCADE,
    days jsonb NOT NULL DEFAULT '{}',
    ran_at timestamptz,
    report jsonb NOT NULL DEFAULT '{}'
);

-- A consumer being erased. `names` and `external_id` are what the audit log is cleaned of; they go with the last step.
CREATE TABLE erasures (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    consumer_id uuid NOT NULL,
    connection_ids uuid[] NOT NULL,
    names text[] NOT NULL DEFAULT '{}',
    actor text NOT NULL,
    counts jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX erasures_project ON erasures (project_id, id DESC);
CREATE UNIQUE INDEX erasures_under_way ON erasures (consumer_id) WHERE finished_at IS NULL;

DO $$
DECLARE
    scoped text;
BEGIN
    FOREACH scoped IN ARRAY ARRAY['retention', 'erasures'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO isthmus_app', scoped);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', scoped);
        EXECUTE format(
            'CREATE POLICY own_project ON %I TO isthmus_app USING (project_id = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid))',
            scoped);
    END LOOP;
END $$;

-- The job that forgets looks across projects for whose turn it is.
CREATE POLICY every_project ON retention TO isthmus_system USING (true);
GRANT SELECT (project_id, ran_at) ON retention TO isthmus_system;
CREATE POLICY every_project ON erasures TO isthmus_system USING (true);
GRANT SELECT (id, project_id, finished_at) ON erasures TO isthmus_system;

ALTER TABLE operations ADD COLUMN payload_forgotten_at timestamptz;
COMMENT ON COLUMN operations.payload_forgotten_at IS 'its content is gone (retention): what is left tells what was done, not with what';
CREATE INDEX operations_payloads ON operations (project_id, finished_at)
    WHERE state IN ('confirmed', 'failed') AND payload_forgotten_at IS NULL;

-- The application adds to the audit log and reads it. Two things more are done as isthmus_system, inside one project: old
-- entries go (never younger than thirty days), and an entry that names an erased consumer loses its detail.
DO $$
DECLARE
    own text := 'project_id = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid)';
BEGIN
    GRANT SELECT, DELETE, UPDATE (subject, detail) ON audit_log TO isthmus_system;
    EXECUTE format('CREATE POLICY seen ON audit_log FOR SELECT TO isthmus_system USING (%s)', own);
    EXECUTE format(
        'CREATE POLICY forgotten ON audit_log FOR DELETE TO isthmus_system USING (%s AND at < now() - interval ''30 days'')', own);
    EXECUTE format(
        'CREATE POLICY cleaned ON audit_log FOR UPDATE TO isthmus_system USING (%s) WITH CHECK (%s AND detail = ''{"erased": true}'')',
        own, own);
END $$;
