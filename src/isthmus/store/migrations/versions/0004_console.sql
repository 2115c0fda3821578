-- The console's people and what they did. People belong to the whole installation, not to a project: their rows are seen
-- through the system role alone, so that no project's transaction can ever read a password hash.

CREATE TABLE console_people (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz
);
CREATE UNIQUE INDEX console_people_name ON console_people (lower(name));

-- The cookie holds the token, the table its hash: a copy of the database opens no session.
CREATE TABLE console_sessions (
    token_hash bytea PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES console_people ON DELETE CASCADE,
    chosen_project uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX console_sessions_person ON console_sessions (person_id);

-- A link that makes one person: the first administrator at first start, colleagues later. Good once.
CREATE TABLE console_invitations (
    token_hash bytea PRIMARY KEY,
    role text NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    first boolean NOT NULL DEFAULT false,
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

-- Wrong passwords in a row, by name and by address (both hashed).
CREATE TABLE console_throttles (
    subject bytea PRIMARY KEY,
    failures integer NOT NULL,
    closed_until timestamptz NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE, DELETE ON console_people, console_sessions, console_invitations, console_throttles
    TO isthmus_system;
