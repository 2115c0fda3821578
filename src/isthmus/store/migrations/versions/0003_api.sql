-- Who may call the API, for whom connections are made, and what was done by whom.

CREATE TABLE consumers (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    external_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, external_id)
);
COMMENT ON COLUMN consumers.external_id IS 'the host''s own id of its customer';

ALTER TABLE connections ADD COLUMN consumer_id uuid REFERENCES consumers ON DELETE SET NULL;
CREATE INDEX connections_consumer ON connections (consumer_id) WHERE consumer_id IS NOT NULL;

-- A key is 256 random bits, so a plain hash is enough: there is nothing to guess. The hash is what a request is found by.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    name text NOT NULL,
    scopes text[] NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_project ON api_keys (project_id);

-- One row per administrative act. The application may add rows and read them, nothing else.
CREATE TABLE audit_log (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    request_id text
);
CREATE INDEX audit_log_history ON audit_log (project_id, id DESC);

GRANT SELECT, INSERT, UPDATE, DELETE ON consumers, api_keys TO isthmus_app;
GRANT SELECT, INSERT ON audit_log TO isthmus_app;

DO $$
DECLARE
    scoped text;
BEGIN
    FOREACH scoped IN ARRAY ARRAY['consumers', 'api_keys', 'audit_log'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', scoped);
        EXECUTE format(
            'CREATE POLICY own_project ON %I TO isthmus_app USING (project_id = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid))',
            scoped);
    END LOOP;
END $$;

-- A request names its key before anybody knows its project.
CREATE POLICY every_project ON api_keys TO isthmus_system USING (true);
GRANT SELECT (id, project_id, name, scopes, hash, expires_at, revoked_at, last_used_at) ON api_keys TO isthmus_system;
GRANT UPDATE (last_used_at) ON api_keys TO isthmus_system;
