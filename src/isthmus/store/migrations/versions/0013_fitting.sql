-- What does not fit: apps of one organization, and default syncs that a connection cannot have.

ALTER TABLE integrations ADD COLUMN tenant text NOT NULL DEFAULT '';
COMMENT ON COLUMN integrations.tenant IS 'the only organization that the host''s app serves; empty: any';

ALTER TABLE connections
    ADD COLUMN default_syncs_refused jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN default_syncs_refused_at timestamptz;
COMMENT ON COLUMN connections.default_syncs_refused IS 'what of its integration''s syncs could not be made, [{object, failure}]; since when';
