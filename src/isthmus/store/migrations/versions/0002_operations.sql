-- Writing --------------------------------------------------------------------------------------------------------------

-- One row per intended write. The state is committed before each step: planned before anything is sent, sent before the
-- socket is touched, the result afterwards. Only the holder of the newest fence may move it on.
CREATE TABLE operations (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    connection_id uuid NOT NULL REFERENCES connections ON DELETE CASCADE,
    idempotency_key text COLLATE "C",
    key_expires_at timestamptz,
    fingerprint bytea NOT NULL,
    batch_id uuid,
    position integer NOT NULL DEFAULT 0,
    isolated boolean NOT NULL DEFAULT false,
    verb text NOT NULL CHECK (verb IN ('create', 'update', 'upsert', 'delete', 'action')),
    object text NOT NULL,
    route text NOT NULL,
    company text COLLATE "C",
    remote_id text COLLATE "C",
    wish jsonb NOT NULL,
    body bytea,
    state text NOT NULL DEFAULT 'planned'
        CHECK (state IN ('planned', 'sent', 'uncertain', 'confirmed', 'failed', 'needs_person')),
    fence bigint NOT NULL DEFAULT 0,
    worker text,
    leased_until timestamptz,
    lock_key text COLLATE "C",
    holds_lock boolean NOT NULL DEFAULT false,
    attempts integer NOT NULL DEFAULT 0,
    looks integer NOT NULL DEFAULT 0,
    resolved jsonb,
    sent_body bytea,
    baseline jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_sent_at timestamptz,
    sent_at timestamptz,
    certain_at timestamptz,
    next_attempt_at timestamptz,
    finished_at timestamptz,
    etag text,
    record bytea,
    claim text COLLATE "C",
    failure jsonb,
    journal jsonb NOT NULL DEFAULT '[]'
) WITH (fillfactor = 70);
COMMENT ON COLUMN operations.certain_at IS 'after this instant the vendor can no longer carry out what was sent';
COMMENT ON COLUMN operations.claim IS 'the record that this operation is known to have created: nobody else may claim it';
CREATE UNIQUE INDEX operations_key ON operations (project_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX operations_claim ON operations (connection_id, claim) WHERE claim IS NOT NULL;
CREATE INDEX operations_open ON operations (next_attempt_at) WHERE state IN ('planned', 'sent', 'uncertain');
CREATE INDEX operations_locks ON operations (connection_id, lock_key) WHERE holds_lock;
CREATE INDEX operations_history ON operations (project_id, id DESC);
CREATE INDEX operations_batch ON operations (batch_id, position) WHERE batch_id IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON operations TO isthmus_app;
ALTER TABLE operations ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_project ON operations TO isthmus_app
    USING (project_id = (SELECT nullif(current_setting('app.project_id', true), '')::uuid));

-- Recovery looks across projects for what is due, and sees nothing of what was written.
CREATE POLICY every_project ON operations TO isthmus_system USING (true);
GRANT SELECT (id, project_id, connection_id, state, next_attempt_at, leased_until) ON operations TO isthmus_system;
