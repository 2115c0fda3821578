-- Sign-in through an identity provider, sessions that can be told apart, and what a changed record was before.

-- Who comes through an identity provider is known by issuer and subject, which never change; name and e-mail may. An
-- empty password hash means that there is no password.
ALTER TABLE console_people ADD COLUMN issuer text;
ALTER TABLE console_people ADD COLUMN subject text;
ALTER TABLE console_people ADD COLUMN email text;
-- older code: does not know these columns and leaves them empty, and rows without an issuer are not in the index.
CREATE UNIQUE INDEX console_people_identity ON console_people (issuer, subject) WHERE issuer IS NOT NULL;

-- The id names a session on a page; what opens it is the token, of which the hash is the key.
ALTER TABLE console_sessions ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE console_sessions ADD COLUMN address text NOT NULL DEFAULT '';
ALTER TABLE console_sessions ADD COLUMN agent text NOT NULL DEFAULT '';
ALTER TABLE console_sessions ADD COLUMN way text NOT NULL DEFAULT 'password';

-- A record as it was until it changed at `replaced_at`. Kept for a while, so that people can see what changed; a record
-- that is deleted at the vendor's side loses its earlier versions with its content.
CREATE TABLE record_versions (
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    stream_id integer NOT NULL REFERENCES streams ON DELETE CASCADE,
    remote_id text COLLATE "C" NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    since timestamptz NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (stream_id, remote_id, replaced_at)
);
CREATE INDEX record_versions_age ON record_versions (stream_id, replaced_at);

-- Writes that wait for somebody are counted on every start page.
CREATE INDEX operations_undecided ON operations (project_id, id DESC)
    WHERE state IN ('needs_person', 'waiting_for_approval', 'uncertain');

GRANT SELECT, INSERT, DELETE ON record_versions TO isthmus_app;
ALTER TABLE record_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_project ON record_versions TO isthmus_app
    USING (project_id = (SELECT nullif(current_setting('app.project_id', true), '')::uuid));
