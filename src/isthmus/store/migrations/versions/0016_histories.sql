-- Pages of the console ask for the last day, or for a sync's last success, while histories are kept for months. Each such
-- question has an index from here on; nothing that older workers do is any different.

CREATE INDEX runs_ended ON runs (project_id, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_by_state ON runs (sync_id, state, requested_at);
CREATE INDEX runs_sweeps ON runs (sync_id, requested_at DESC) WHERE kind = 'sweep';
CREATE INDEX deliveries_day ON deliveries (project_id, at);
CREATE INDEX feed_segments_day ON feed_segments (project_id, at);
