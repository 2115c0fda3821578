-- How far a reset reaches, which window a stream was read from, and slices that a run had to leave out.

-- `resets` counts how often a stream was told to start over: a run that began before a reset must not undo it.
-- `read_since` is the lower bound of a backfill window, kept so that it does not move with the clock.
ALTER TABLE streams
    ADD COLUMN resets integer NOT NULL DEFAULT 0,
    ADD COLUMN read_since timestamptz;

-- `left_out`: the company was not there; nothing may be concluded about its records.
ALTER TABLE checkpoints
    ADD COLUMN resets integer NOT NULL DEFAULT 0,
    ADD COLUMN left_out boolean NOT NULL DEFAULT false;
