-- The secret of the host's own app is watched where it is kept, at the integration, and a second one can wait there.
-- Appointments stay as they are, so that older workers keep working: when to look is a column of its own.

ALTER TABLE integrations ADD COLUMN staged_secret_sealed bytea;
ALTER TABLE integrations ADD COLUMN staged_certificate_sealed bytea;
ALTER TABLE integrations ADD COLUMN staged_expires_at timestamptz;
ALTER TABLE integrations ADD COLUMN staged_from timestamptz;
ALTER TABLE integrations ADD COLUMN staged_at timestamptz;
ALTER TABLE integrations ADD COLUMN warned_days integer;
ALTER TABLE integrations ADD COLUMN secret_look_at timestamptz;
COMMENT ON COLUMN integrations.staged_from IS 'from then on the staged credential takes over; null = when the one in use is refused or has ended';
COMMENT ON COLUMN integrations.warned_days IS 'the last warning before secret_expires_at, in days (30, 14, 7, 1, 0); null = none yet';
COMMENT ON COLUMN integrations.secret_look_at IS 'when a worker looks at the secret next: a warning is due, or the staged one takes over';
CREATE INDEX integrations_secret_look ON integrations (secret_look_at) WHERE secret_look_at IS NOT NULL;

-- However a date comes about, somebody will look; a new date begins the warnings anew.
CREATE FUNCTION integration_secret_look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.secret_expires_at IS NOT DISTINCT FROM OLD.secret_expires_at
       AND NEW.staged_from IS NOT DISTINCT FROM OLD.staged_from THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.secret_expires_at IS DISTINCT FROM OLD.secret_expires_at THEN
        NEW.warned_days := NULL;
    END IF;
    NEW.secret_look_at := least(
        CASE WHEN NEW.secret_expires_at IS NOT NULL
             THEN greatest(now(), NEW.secret_expires_at - make_interval(days => 30)) END,
        NEW.staged_from);
    RETURN NEW;
END $$;
CREATE TRIGGER integrations_secret_look BEFORE INSERT OR UPDATE OF secret_expires_at, staged_from ON integrations
    FOR EACH ROW EXECUTE FUNCTION integration_secret_look();

-- What exists: a certificate has told its end to the connections alone, and a replaced secret was dated in every one of
-- them. The date belongs to the integration; a connection has one when its secret is its own.
UPDATE integrations i SET secret_expires_at = told.ends_at
FROM (SELECT c.integration_id, max(g.secret_expires_at) AS ends_at
      FROM connections c JOIN grants g ON g.id = c.grant_id JOIN integrations n ON n.id = c.integration_id
      WHERE g.client_id = n.client_id AND g.certificate_sealed IS NOT NULL AND n.certificate_sealed IS NOT NULL
      GROUP BY 1) told
WHERE i.id = told.integration_id AND i.secret_expires_at IS NULL AND told.ends_at IS NOT NULL;
UPDATE integrations SET secret_look_at = greatest(now(), secret_expires_at - make_interval(days => 30))
WHERE secret_expires_at IS NOT NULL;
UPDATE grants g SET secret_expires_at = NULL
FROM connections c JOIN integrations i ON i.id = c.integration_id
WHERE c.grant_id = g.id AND g.client_id = i.client_id AND g.secret_expires_at = i.secret_expires_at;

-- Who looks after all projects sees that something is due, and nothing of what it is.
CREATE POLICY every_project ON integrations TO isthmus_system USING (true);
GRANT SELECT (id, project_id, secret_look_at), UPDATE (secret_look_at) ON integrations TO isthmus_system;
