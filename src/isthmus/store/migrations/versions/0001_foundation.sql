-- The foundation. Every table that holds a project's data has a column project_id and row-level security on it (at the
-- end of this file); the roles own nothing.

-- Who is who -----------------------------------------------------------------------------------------------------------

CREATE TABLE projects (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE project_keys (
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    id uuid NOT NULL,
    wrapped bytea NOT NULL,
    master_key_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    PRIMARY KEY (project_id, id)
);

CREATE TABLE grants (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    provider text NOT NULL,
    kind text NOT NULL,
    cloud jsonb NOT NULL,
    tenant text NOT NULL,
    client_id text NOT NULL,
    scopes text[] NOT NULL DEFAULT '{}',
    secret_sealed bytea,
    secret_expires_at timestamptz,
    certificate_sealed bytea,
    refresh_token_sealed bytea,
    access_token_sealed bytea,
    access_expires_at timestamptz,
    settings jsonb NOT NULL DEFAULT '{}',
    fence bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX grants_project ON grants (project_id);

-- A sign-in under way: the state that the browser carries is kept as a hash and is good once.
CREATE TABLE authorizations (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    state_hash bytea NOT NULL UNIQUE,
    sealed bytea NOT NULL,
    context jsonb NOT NULL DEFAULT '{}',
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);

CREATE TABLE connections (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    grant_id uuid NOT NULL REFERENCES grants,
    provider text NOT NULL,
    environment text NOT NULL,
    name text NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    reason text,
    turn text,
    failure jsonb,
    since timestamptz NOT NULL DEFAULT now(),
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name)
);

CREATE TABLE companies (
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    connection_id uuid NOT NULL REFERENCES connections ON DELETE CASCADE,
    remote_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    display_name text NOT NULL DEFAULT '',
    selected boolean NOT NULL DEFAULT true,
    missing_since timestamptz,
    PRIMARY KEY (connection_id, remote_id)
);

CREATE TABLE object_schemas (
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    connection_id uuid NOT NULL REFERENCES connections ON DELETE CASCADE,
    route text NOT NULL,
    document bytea NOT NULL,
    hash bytea NOT NULL,
    fetched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, route)
);

-- Reading --------------------------------------------------------------------------------------------------------------

CREATE TABLE syncs (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    connection_id uuid NOT NULL REFERENCES connections ON DELETE CASCADE,
    object text NOT NULL,
    route text NOT NULL,
    companies text[],
    fields text[] NOT NULL DEFAULT '{}',
    filter text,
    expand text[] NOT NULL DEFAULT '{}',
    backfill_days integer,
    schedule text,
    sweep_schedule text,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    page_records integer,
    known_fields jsonb,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN syncs.companies IS 'company ids; null = every selected company of the connection';
COMMENT ON COLUMN syncs.backfill_days IS 'null = the full history, 0 = nothing older than now, N = the last N days';
CREATE INDEX syncs_connection ON syncs (connection_id);

-- The records of one sync in one company. The small number stands in every record; leaf names its partition.
CREATE TABLE streams (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    sync_id uuid NOT NULL REFERENCES syncs ON DELETE CASCADE,
    company text COLLATE "C" NOT NULL,
    leaf smallint NOT NULL DEFAULT 0,
    watermark timestamptz,
    born_run uuid,
    UNIQUE (sync_id, company)
);

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    sync_id uuid NOT NULL REFERENCES syncs ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('backfill', 'incremental', 'sweep')),
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'held')),
    epoch integer NOT NULL DEFAULT 0,
    worker text,
    heartbeat_at timestamptz,
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    total bigint,
    options jsonb NOT NULL DEFAULT '{}',
    failure jsonb
);
CREATE UNIQUE INDEX runs_one_active ON runs (sync_id) WHERE state IN ('queued', 'running');
CREATE INDEX runs_history ON runs (sync_id, requested_at DESC);
CREATE INDEX runs_active ON runs (heartbeat_at) WHERE state IN ('queued', 'running');

CREATE TABLE checkpoints (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    slice text NOT NULL,
    stream_id integer NOT NULL REFERENCES streams ON DELETE CASCADE,
    lower text,
    upper text,
    link text,
    pages integer NOT NULL DEFAULT 0,
    seen bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL DEFAULT 0,
    updated bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    watermark timestamptz,
    done boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, slice)
) WITH (fillfactor = 50);

-- A record: its JSON byte for byte. Rows reach the leaves by COPY through the role isthmus_loader, everything else goes
-- through the parent and its row-level security; nobody but the loader has rights on a leaf. The check keeps the loader
-- inside the project of its transaction (and lets a restore, which has none, pass).
CREATE TABLE records (
    project_id uuid NOT NULL
        CHECK (project_id = coalesce(nullif(current_setting('app.project_id', true), '')::uuid, project_id)),
    stream_id integer NOT NULL,
    deleted boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL DEFAULT now(),
    hash bytea NOT NULL,
    remote_id text COLLATE "C" NOT NULL,
    stamp text NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (stream_id, remote_id)
) PARTITION BY HASH (stream_id);

DO $$
BEGIN
    FOR leaf IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE records_%1$s PARTITION OF records FOR VALUES WITH (MODULUS 16, REMAINDER %1$s)
             WITH (toast_tuple_target = 8160)', leaf);
        EXECUTE format('ALTER TABLE records_%s ALTER COLUMN raw SET STORAGE MAIN', leaf);
    END LOOP;
END $$;

CREATE FUNCTION stream_leaf() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    FOR leaf IN 0..15 LOOP
        IF satisfies_hash_partition(format('%I.records', TG_TABLE_SCHEMA)::regclass, 16, leaf, NEW.id) THEN
            NEW.leaf := leaf;
        END IF;
    END LOOP;
    RETURN NEW;
END $$;
CREATE TRIGGER streams_leaf BEFORE INSERT ON streams FOR EACH ROW EXECUTE FUNCTION stream_leaf();

-- Ids seen by a run that looks for deletions: one row per page.
CREATE TABLE sweep_pages (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    stream_id integer NOT NULL,
    slice text NOT NULL,
    page integer NOT NULL,
    remote_ids text[] NOT NULL,
    PRIMARY KEY (run_id, stream_id, slice, page)
);
ALTER TABLE sweep_pages ALTER COLUMN remote_ids SET STORAGE EXTERNAL;

-- What a complete sweep found to be missing, until it has been marked as deleted.
CREATE TABLE sweep_missing (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    stream_id integer NOT NULL,
    remote_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (run_id, stream_id, remote_id)
);

CREATE TABLE request_journal (
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    number integer NOT NULL,
    at timestamptz NOT NULL,
    entry jsonb NOT NULL,
    PRIMARY KEY (run_id, number)
);

-- The change feed ------------------------------------------------------------------------------------------------------

CREATE TABLE feed_counters (
    project_id uuid PRIMARY KEY REFERENCES projects ON DELETE CASCADE,
    last_number bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- One row per committed page: change number first_number + i is about remote_ids[i]. kinds has one letter per change
-- (c, u, d), or a single one when all are alike.
CREATE TABLE feed_segments (
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    last_number bigint NOT NULL,
    first_number bigint NOT NULL,
    stream_id integer NOT NULL REFERENCES streams ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    kinds text NOT NULL,
    remote_ids text[] NOT NULL,
    PRIMARY KEY (project_id, last_number)
);
ALTER TABLE feed_segments ALTER COLUMN remote_ids SET STORAGE EXTERNAL;
CREATE INDEX feed_segments_stream ON feed_segments (stream_id, last_number);

-- Delivery -------------------------------------------------------------------------------------------------------------

CREATE TABLE destinations (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind text NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    secret_sealed bytea,
    filter jsonb NOT NULL DEFAULT '{}',
    settings jsonb NOT NULL DEFAULT '{}',
    paused text,
    cursor bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    refusals integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    next_attempt_at timestamptz,
    pending_last bigint,
    failure jsonb,
    fence bigint NOT NULL DEFAULT 0,
    drainer text,
    drained_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, name)
);

CREATE TABLE deliveries (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    destination_id uuid NOT NULL REFERENCES destinations ON DELETE CASCADE,
    first_number bigint NOT NULL,
    last_number bigint NOT NULL,
    changes integer NOT NULL,
    attempt integer NOT NULL,
    delivered boolean NOT NULL,
    status integer,
    elapsed_s double precision NOT NULL,
    error text,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deliveries_destination ON deliveries (destination_id, id DESC);

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    destination_id uuid NOT NULL REFERENCES destinations ON DELETE CASCADE,
    first_number bigint NOT NULL,
    last_number bigint NOT NULL,
    changes integer NOT NULL,
    attempts integer NOT NULL,
    failure jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz
);
CREATE INDEX dead_letters_destination ON dead_letters (destination_id, first_number);

-- Machinery ------------------------------------------------------------------------------------------------------------

CREATE TABLE schedules (
    sync_id uuid NOT NULL REFERENCES syncs ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('incremental', 'sweep')),
    project_id uuid NOT NULL REFERENCES projects ON DELETE CASCADE,
    spec text NOT NULL,
    next_due timestamptz NOT NULL,
    last_due timestamptz,
    PRIMARY KEY (sync_id, kind)
);
CREATE INDEX schedules_due ON schedules (next_due);

-- Shares of a vendor's request budget. The scope names an app user in an environment; no project's data is in here.
CREATE TABLE budgets (
    scope text COLLATE "C" PRIMARY KEY,
    ledger jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

-- Rights ---------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    here text := current_schema();
    wanted text;
    scoped text;
BEGIN
    -- Roles belong to the whole server: another database of it may have them already.
    FOREACH wanted IN ARRAY ARRAY['isthmus_app LOGIN', 'isthmus_loader NOLOGIN', 'isthmus_system NOLOGIN'] LOOP
        BEGIN
            EXECUTE 'CREATE ROLE ' || wanted;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
    GRANT isthmus_loader, isthmus_system TO isthmus_app WITH INHERIT FALSE, SET TRUE;
    EXECUTE format('GRANT isthmus_app, isthmus_loader, isthmus_system TO %I WITH SET TRUE', current_user);

    EXECUTE format('GRANT USAGE ON SCHEMA %I TO isthmus_app, isthmus_loader, isthmus_system', here);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO isthmus_app', here);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO isthmus_app', here);
    EXECUTE 'REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM isthmus_app';
    FOR leaf IN 0..15 LOOP
        EXECUTE format('REVOKE ALL ON records_%s FROM isthmus_app', leaf);
        EXECUTE format('GRANT INSERT ON records_%s TO isthmus_loader', leaf);
    END LOOP;

    -- The project of a transaction is app.project_id; without one nothing is visible.
    FOR scoped IN
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'project_id'
        WHERE c.relnamespace = here::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
        UNION ALL SELECT 'projects'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', scoped);
        EXECUTE format(
            'CREATE POLICY own_project ON %I TO isthmus_app USING (%I = (SELECT nullif(current_setting(''app.project_id'', true), '''')::uuid))',
            scoped, CASE WHEN scoped = 'projects' THEN 'id' ELSE 'project_id' END);
    END LOOP;

    -- Work that spans projects (the schedule ticker, recovery, the start page) sees these tables and no others.
    FOREACH scoped IN ARRAY ARRAY[
        'projects', 'project_keys', 'feed_counters', 'schedules', 'runs', 'destinations', 'authorizations']
    LOOP
        EXECUTE format('CREATE POLICY every_project ON %I TO isthmus_system USING (true)', scoped);
    END LOOP;
    GRANT SELECT, INSERT, UPDATE, DELETE ON projects, project_keys, feed_counters, schedules, budgets
        TO isthmus_system;
    GRANT SELECT, UPDATE ON runs, authorizations TO isthmus_system;
    GRANT SELECT (id, project_id, kind, paused, cursor, next_attempt_at, drained_until, fence, drainer) ON destinations TO isthmus_system;
    GRANT SELECT ON alembic_version, procrastinate_jobs TO isthmus_system;
END $$;
