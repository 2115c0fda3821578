-- Events for the host, test events, payload links, limits of the proxy.

-- What happened besides changes of records. A row is written with what it tells about and has no number until that
-- transaction is over; whoever reads or delivers next gives out the numbers, from the project's one counter. So nobody
-- who appends an event holds the counter, and numbers still become visible in order.
CREATE TABLE events (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    place bigint GENERATED ALWAYS AS IDENTITY,
    number bigint,
    type text NOT NULL,
    subject jsonb NOT NULL DEFAULT '{}',
    data jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 80);
COMMENT ON COLUMN events.number IS 'its place in the project''s feed, beside the changes; null until it is given out';
CREATE UNIQUE INDEX events_number ON events (project_id, number);
CREATE INDEX events_waiting ON events (project_id, place) WHERE number IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON events TO isthmus_app;

DO $$
DECLARE
    scoped text;
BEGIN
    FOREACH scoped IN ARRAY ARRAY['events'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', scoped);
        EXECUTE format(
            'CREATE POLICY own_project ON %I TO isthmus_app USING (project_id = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid))',
            scoped);
    END LOOP;
END $$;

-- Which projects have events without a number: all that work across projects may see of them.
CREATE POLICY every_project ON events TO isthmus_system USING (true);
GRANT SELECT (project_id, number) ON events TO isthmus_system;

ALTER TABLE deliveries ADD COLUMN type text;
COMMENT ON COLUMN deliveries.type IS 'of an event; null for changes of records';

-- Reading --------------------------------------------------------------------------------------------------------------

-- The host's own names for fields, and full refreshes (for calculated fields, which change without a stamp).
ALTER TABLE syncs
    ADD COLUMN names jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN refresh_schedule text;
COMMENT ON COLUMN syncs.names IS 'vendor''s field name -> the host''s; for what leaves the house, not for what is stored';

-- Beside `schedules`, whose kinds are runs' kinds: an older worker must not meet one that it does not know.
CREATE TABLE refresh_schedules (
    sync_id uuid PRIMARY KEY REFERENCES syncs ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    spec text NOT NULL,
    next_due timestamptz NOT NULL,
    last_due timestamptz
);
CREATE INDEX refresh_schedules_due ON refresh_schedules (next_due);
GRANT SELECT, INSERT, UPDATE, DELETE ON refresh_schedules TO isthmus_app, isthmus_system;
ALTER TABLE refresh_schedules ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_project ON refresh_schedules TO isthmus_app
    USING (project_id = (SELECT nullif(current_setting('app.project_id', true), '')::uuid));
CREATE POLICY every_project ON refresh_schedules TO isthmus_system USING (true);

ALTER TABLE projects ADD COLUMN proxy_limits jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN projects.proxy_limits IS 'what the project has set of ProxyLimits';
