-- Health in full: reasons, notices to people, staged secrets, expiry dates.

-- What a connection went through: one row per change of its state or of the reason for it.
CREATE TABLE connection_states (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    connection_id uuid NOT NULL REFERENCES connections ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL,
    before text NOT NULL,
    reason text,
    turn text,
    message text,
    failure jsonb
);
CREATE INDEX connection_states_history ON connection_states (connection_id, id DESC);

-- A second secret that waits beside the one in use, and how far people have been warned of the end of that.
ALTER TABLE grants ADD COLUMN staged_secret_sealed bytea;
ALTER TABLE grants ADD COLUMN staged_certificate_sealed bytea;
ALTER TABLE grants ADD COLUMN staged_expires_at timestamptz;
ALTER TABLE grants ADD COLUMN staged_from timestamptz;
ALTER TABLE grants ADD COLUMN staged_at timestamptz;
ALTER TABLE grants ADD COLUMN warned_days integer;
COMMENT ON COLUMN grants.staged_from IS 'from then on the staged credential is tried first; null = when the one in use is refused';
COMMENT ON COLUMN grants.warned_days IS 'the last warning before secret_expires_at, in days (30, 14, 7, 1, 0); null = none yet';

-- When somebody has to look after a connection or grant again: the end of a secret, an idle sign-in, a refusal that may
-- have passed.
CREATE TABLE appointments (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('expiry', 'idle', 'probe')),
    grant_id uuid REFERENCES grants ON DELETE CASCADE,
    connection_id uuid REFERENCES connections ON DELETE CASCADE,
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX appointments_grant ON appointments (grant_id, kind) WHERE grant_id IS NOT NULL;
CREATE UNIQUE INDEX appointments_connection ON appointments (connection_id, kind) WHERE connection_id IS NOT NULL;
CREATE INDEX appointments_due ON appointments (due_at);

-- However a grant comes about, it gets its appointments: idle ones are spread over the week. A new date begins anew.
CREATE FUNCTION grant_appointments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO appointments (project_id, kind, grant_id, due_at)
        VALUES (NEW.project_id, 'idle', NEW.id, now() + make_interval(days => 6) + random() * make_interval(days => 2))
        ON CONFLICT DO NOTHING;
        IF NEW.secret_expires_at IS NULL THEN
            RETURN NULL;
        END IF;
    ELSIF NEW.secret_expires_at IS NOT DISTINCT FROM OLD.secret_expires_at THEN
        RETURN NULL;
    END IF;
    UPDATE grants SET warned_days = NULL WHERE id = NEW.id AND warned_days IS NOT NULL;
    DELETE FROM appointments WHERE grant_id = NEW.id AND kind = 'expiry';
    IF NEW.secret_expires_at IS NOT NULL THEN
        INSERT INTO appointments (project_id, kind, grant_id, due_at)
        VALUES (NEW.project_id, 'expiry', NEW.id, greatest(now(), NEW.secret_expires_at - make_interval(days => 30)));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER grants_appointments AFTER INSERT OR UPDATE OF secret_expires_at ON grants
    FOR EACH ROW EXECUTE FUNCTION grant_appointments();

INSERT INTO appointments (project_id, kind, grant_id, due_at)
SELECT project_id, 'idle', id, now() + random() * make_interval(days => 7) FROM grants;
INSERT INTO appointments (project_id, kind, grant_id, due_at)
SELECT project_id, 'expiry', id, greatest(now(), secret_expires_at - make_interval(days => 30)) FROM grants
WHERE secret_expires_at IS NOT NULL;

-- Whom to tell: an address with the kinds of notice that it wants (none named = all).
CREATE TABLE notice_addresses (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    address text COLLATE "C" NOT NULL,
    kinds text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, address)
);

-- What people are to be told. A notice waits a little for others of its kind, so that one outage is one mail.
CREATE TABLE notices (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind text NOT NULL,
    connection_id uuid REFERENCES connections ON DELETE SET NULL,
    reason text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL,
    told_at timestamptz,
    outcome text
);
CREATE INDEX notices_waiting ON notices (due_at) WHERE told_at IS NULL;
CREATE INDEX notices_history ON notices (project_id, id DESC);
COMMENT ON COLUMN notices.outcome IS 'mailed, passed (the trouble was over first), nobody (no address wants it), no_mail (no mail server)';

-- The outbox: one row per mail and address, kept until it is sent or given up.
CREATE TABLE mails (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    address text NOT NULL,
    subject text NOT NULL,
    plain text NOT NULL,
    html text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    sent_at timestamptz,
    given_up_at timestamptz,
    failure text
);
CREATE INDEX mails_waiting ON mails (next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX mails_history ON mails (project_id, id DESC);

-- A consumer's own page: the link carries the token, the table its hash.
CREATE TABLE portal_links (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    consumer_id uuid NOT NULL REFERENCES consumers ON DELETE CASCADE,
    token_hash bytea NOT NULL UNIQUE,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX portal_links_consumer ON portal_links (consumer_id);

GRANT SELECT, INSERT, UPDATE, DELETE
    ON connection_states, appointments, notice_addresses, notices, mails, portal_links TO isthmus_app;

DO $$
DECLARE
    scoped text;
BEGIN
    FOREACH scoped IN ARRAY ARRAY[
        'connection_states', 'appointments', 'notice_addresses', 'notices', 'mails', 'portal_links'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', scoped);
        EXECUTE format(
            'CREATE POLICY own_project ON %I TO isthmus_app USING (project_id = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid))',
            scoped);
    END LOOP;
    -- Who looks after all projects sees that something is due, and nothing of what it says.
    FOREACH scoped IN ARRAY ARRAY['appointments', 'notices', 'mails', 'portal_links'] LOOP
        EXECUTE format('CREATE POLICY every_project ON %I TO isthmus_system USING (true)', scoped);
    END LOOP;
END $$;
GRANT SELECT, UPDATE (due_at, tries) ON appointments TO isthmus_system;
GRANT SELECT (id, project_id, due_at, told_at) ON notices TO isthmus_system;
GRANT SELECT (id, project_id, next_attempt_at, sent_at) ON mails TO isthmus_system;
GRANT SELECT (id, project_id, consumer_id, token_hash, expires_at, revoked_at) ON portal_links TO isthmus_system;
