-- Whether a line had the lane's last turn when there was a choice, so that a job without a limit key is next.
ALTER TABLE lanes ADD COLUMN plain_next INTEGER NOT NULL DEFAULT 0;

-- Ready jobs that stand aside from the main line of their lane: those with a limit key, in a line for each key; and those
-- without one whose task was at its limit when a claim met them, so that no claim has to walk past them again.
ALTER TABLE jobs ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_ready;
DROP INDEX jobs_held;
UPDATE jobs SET aside = 1 WHERE limit_key IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (lane, rank, seq) WHERE state = 2 AND suspect = 0 AND aside = 0;
CREATE INDEX jobs_aside ON jobs (lane, task, limit_key, rank, seq) WHERE state = 2 AND suspect = 0 AND aside = 1;
-- What runs is counted from these two, and never from a counter that a crash could leave wrong. (With the state in it,
-- an index answers alone.)
CREATE INDEX jobs_held ON jobs (session, lane, task, state) WHERE state = 3;
CREATE INDEX jobs_held_key ON jobs (limit_key, state) WHERE state = 3 AND limit_key IS NOT NULL;

-- A row for each (lane, rank, task, limit key) with ready jobs that are not suspect, and no others.
CREATE TABLE lines (
    lane INTEGER NOT NULL,
    task INTEGER NOT NULL,
    key TEXT NOT NULL,
    rank INTEGER NOT NULL,
    turn INTEGER NOT NULL,                  -- a sequence: that of the job that opened the line, or of its last turn
    -- Set while the line is barred, because its key is at its limit: since when, under which version of the limits, and
    -- until when, if it is a rate's bar. Without an end, the end of a running job of the key ends it.
    barred_at INTEGER,
    barred_under INTEGER,
    barred_until INTEGER,
    PRIMARY KEY (lane, task, key, rank)
) WITHOUT ROWID;
CREATE INDEX lines_rotation ON lines (lane, task, rank, turn, barred_at) WHERE barred_at IS NULL;
CREATE INDEX lines_barred ON lines (barred_under, barred_until) WHERE barred_at IS NOT NULL;
CREATE INDEX lines_barred_at ON lines (barred_at) WHERE barred_at IS NOT NULL;
CREATE INDEX lines_waiting ON lines (lane, barred_until) WHERE barred_until IS NOT NULL;
CREATE INDEX lines_full ON lines (key) WHERE barred_at IS NOT NULL AND barred_until IS NULL;
INSERT INTO lines (lane, rank, task, key, turn)
SELECT lane, rank, task, limit_key, min(seq) FROM jobs
WHERE state = 2 AND suspect = 0 AND limit_key IS NOT NULL GROUP BY lane, rank, task, limit_key;

-- The lines follow the jobs' states by themselves; but only where a statement names the column ``aside``, as all do that
-- may move a job with a limit key, so that the statements for all others pay nothing.
CREATE TRIGGER lines_open AFTER UPDATE OF aside ON jobs
WHEN NEW.limit_key IS NOT NULL AND NEW.state = 2 AND NEW.suspect = 0 AND OLD.state <> 2
BEGIN
    INSERT OR IGNORE INTO lines (lane, rank, task, key, turn)
    VALUES (NEW.lane, NEW.rank, NEW.task, NEW.limit_key, NEW.seq);
END;
CREATE TRIGGER lines_close AFTER UPDATE OF aside ON jobs
WHEN OLD.limit_key IS NOT NULL AND OLD.state = 2 AND OLD.suspect = 0 AND NEW.state <> 2
BEGIN
    DELETE FROM lines
    WHERE lane = OLD.lane AND task = OLD.task AND key = OLD.limit_key AND rank = OLD.rank AND NOT EXISTS (
        SELECT 1 FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 1
            AND lane = OLD.lane AND task = OLD.task AND limit_key = OLD.limit_key AND rank = OLD.rank
    );
END;
CREATE TRIGGER lines_reopen AFTER UPDATE OF aside ON jobs
WHEN OLD.limit_key IS NOT NULL AND OLD.state = 3 AND NEW.state <> 3
BEGIN
    UPDATE lines SET barred_at = NULL, barred_under = NULL
    WHERE key = OLD.limit_key AND barred_at IS NOT NULL AND barred_until IS NULL;
END;
