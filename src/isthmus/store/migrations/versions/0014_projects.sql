-- Development is a project's own business; keys with a limit of their own; whom a process serves. Only adds.

ALTER TABLE projects ADD COLUMN development boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN projects.development IS 'webhooks may lead to this machine and private networks, where the process allows it';

-- Until now the process decided when a webhook was made, and its settings kept that. What was made in development goes
-- on, and is seen from now on: the console stripes such a project. Code that is older still reads the settings, so they
-- are written along until it is gone.
UPDATE projects SET development = true
WHERE EXISTS (
    SELECT 1 FROM destinations
    WHERE destinations.project_id = projects.id AND destinations.settings -> 'development' = 'true'
);

ALTER TABLE api_keys ADD COLUMN requests_per_s double precision;
COMMENT ON COLUMN api_keys.requests_per_s IS 'null: as many as the server allows every key';
GRANT SELECT (requests_per_s) ON api_keys TO isthmus_system;

ALTER TABLE processes ADD COLUMN started_for uuid;
COMMENT ON COLUMN processes.started_for IS 'the project that ISTHMUS_PROJECT names there; null from older code';
