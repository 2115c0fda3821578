-- Approvals, uploads, and what answers later.

-- Which writes wait for a person. The most specific rule holds: an object's, a connection's, an integration's, the project's.
CREATE TABLE approval_rules (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    integration_id uuid REFERENCES integrations ON DELETE CASCADE,
    connection_id uuid REFERENCES connections ON DELETE CASCADE,
    object text,
    required boolean NOT NULL,
    expires_s double precision NOT NULL DEFAULT 259200 CHECK (expires_s > 0),
    changed_by text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX approval_rules_scope ON approval_rules
    (project_id, coalesce(integration_id, '00000000-0000-0000-0000-000000000000'),
     coalesce(connection_id, '00000000-0000-0000-0000-000000000000'), coalesce(lower(object), ''));
GRANT SELECT, INSERT, UPDATE, DELETE ON approval_rules TO isthmus_app;
ALTER TABLE approval_rules ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_project ON approval_rules TO isthmus_app
    USING (project_id = (SELECT nullif(current_setting('app.project_id', true), '')::uuid));

ALTER TABLE operations
    ADD COLUMN planned_by text,
    ADD COLUMN planned_by_key uuid,
    ADD COLUMN proposal jsonb,
    ADD COLUMN approval_expires_at timestamptz,
    ADD COLUMN decided_by text,
    ADD COLUMN decided_at timestamptz;
COMMENT ON COLUMN operations.proposal IS 'what a person was asked to approve: the exact request, and what it changes';
COMMENT ON COLUMN operations.decided_by IS 'who approved or refused it';

-- older code: both lists come back at once with every word that it writes. It cannot decode the two new ones: until the
-- last server of schema 0009 has gone, let nobody ask for approvals or upload, or its lists of operations answer with an error.
ALTER TABLE operations DROP CONSTRAINT operations_state_check, DROP CONSTRAINT operations_verb_check;
-- older code: these are the lists of 0002 and one word more in each, so whatever it writes is let through.
ALTER TABLE operations
    ADD CONSTRAINT operations_state_check CHECK (state IN ('waiting_for_approval', 'planned', 'sent', 'uncertain', 'confirmed', 'failed', 'needs_person')),
    ADD CONSTRAINT operations_verb_check CHECK (verb IN ('create', 'update', 'upsert', 'delete', 'action', 'upload'));
CREATE INDEX operations_waiting ON operations (next_attempt_at) WHERE state = 'waiting_for_approval';

-- What monitoring counts without reading the history.
CREATE INDEX operations_needs_person ON operations (project_id) WHERE state = 'needs_person';
