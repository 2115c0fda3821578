-- Integrations (what a project sets up once per provider), the page that a consumer sees, and the sessions in which a
-- consumer connects.

CREATE TABLE integrations (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    provider text NOT NULL,
    name text NOT NULL,
    client_id text NOT NULL DEFAULT '',
    secret_sealed bytea,
    secret_expires_at timestamptz,
    certificate_sealed bytea,
    cloud jsonb NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    objects jsonb NOT NULL DEFAULT '[]',
    modes text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name)
);
COMMENT ON COLUMN integrations.client_id IS 'the host''s own app; empty when every consumer brings its own';
COMMENT ON COLUMN integrations.objects IS 'what is shared and why, as {object, access, reason, title}';

-- What every connection of an integration reads; a worker makes these syncs once, when a new connection works.
ALTER TABLE integrations ADD COLUMN default_syncs jsonb NOT NULL DEFAULT '{}';
ALTER TABLE connections ADD COLUMN default_syncs_made boolean NOT NULL DEFAULT false;
ALTER TABLE connections ADD COLUMN default_syncs_again timestamptz;

ALTER TABLE connections ADD COLUMN integration_id uuid REFERENCES integrations ON DELETE SET NULL;
CREATE INDEX connections_integration ON connections (integration_id) WHERE integration_id IS NOT NULL;
CREATE INDEX connections_grant ON connections (grant_id);

-- How the hosted pages look and where they may lead back to. One row per project.
CREATE TABLE connect_pages (
    project_id uuid PRIMARY KEY REFERENCES projects ON DELETE CASCADE,
    host_name text NOT NULL DEFAULT '',
    accent text NOT NULL DEFAULT '',
    logo bytea,
    logo_type text NOT NULL DEFAULT '',
    support text NOT NULL DEFAULT '',
    privacy_url text NOT NULL DEFAULT '',
    allowed_origins text[] NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE connect_sessions (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    integration_id uuid NOT NULL REFERENCES integrations ON DELETE CASCADE,
    consumer_id uuid NOT NULL REFERENCES consumers ON DELETE CASCADE,
    connection_id uuid REFERENCES connections ON DELETE SET NULL,
    reconnect boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'opened', 'connected', 'cancelled', 'failed', 'expired')),
    step text NOT NULL DEFAULT 'consent'
        CHECK (step IN ('consent', 'inputs', 'vendor', 'checking', 'choose', 'done')),
    preset jsonb NOT NULL DEFAULT '{}',
    inputs jsonb NOT NULL DEFAULT '{}',
    sealed bytea,
    origin text NOT NULL DEFAULT '',
    return_url text NOT NULL DEFAULT '',
    checks jsonb NOT NULL DEFAULT '[]',
    checking_at timestamptz,
    environments jsonb NOT NULL DEFAULT '[]',
    failure jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    opened_at timestamptz,
    accepted_at timestamptz,
    ended_at timestamptz,
    expires_at timestamptz NOT NULL,
    latest_at timestamptz NOT NULL
);
COMMENT ON COLUMN connect_sessions.inputs IS 'what was typed, without secrets; those are in sealed until the end';
COMMENT ON COLUMN connect_sessions.latest_at IS 'what somebody does moves expires_at, but never beyond this';
CREATE INDEX connect_sessions_history ON connect_sessions (project_id, id DESC);
CREATE INDEX connect_sessions_due ON connect_sessions (expires_at) WHERE status IN ('pending', 'opened', 'failed');

-- A link opens a session, a visit is one browser in it. Both are 256 random bits, of which a plain hash is kept.
CREATE TABLE connect_links (
    token_hash bytea PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    session_id uuid NOT NULL REFERENCES connect_sessions ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('consumer', 'administrator')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX connect_links_session ON connect_links (session_id);

CREATE TABLE connect_visits (
    token_hash bytea PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    session_id uuid NOT NULL REFERENCES connect_sessions ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('consumer', 'administrator')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX connect_visits_session ON connect_visits (session_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON integrations, connect_pages, connect_sessions, connect_links, connect_visits
    TO isthmus_app;

DO $$
DECLARE
    scoped text;
BEGIN
    FOREACH scoped IN ARRAY ARRAY['integrations', 'connect_pages', 'connect_sessions', 'connect_links', 'connect_visits'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', scoped);
        EXECUTE format(
            'CREATE POLICY own_project ON %I TO isthmus_app USING (project_id = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid))',
            scoped);
    END LOOP;
END $$;

-- A browser names its link, its visit or its logo before anybody knows the project.
CREATE POLICY every_project ON connect_links TO isthmus_system USING (true);
GRANT SELECT (token_hash, project_id, session_id, purpose) ON connect_links TO isthmus_system;
CREATE POLICY every_project ON connect_visits TO isthmus_system USING (true);
GRANT SELECT (token_hash, project_id, session_id, purpose, expires_at) ON connect_visits TO isthmus_system;
CREATE POLICY every_project ON connect_sessions TO isthmus_system USING (true);
GRANT SELECT (id, project_id, status, expires_at) ON connect_sessions TO isthmus_system;
