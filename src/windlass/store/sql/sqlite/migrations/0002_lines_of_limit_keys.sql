-- Whether a line had the lane's last turn when there was a choice, so that a job without a limit key is next.
ALTER TABLE lanes ADD COLUMN plain_next INTEGER NOT NULL DEFAULT 0;

-- Ready jobs that stand aside from the main line of their lane: those with a limit key, in a line for each (lane, rank, task,
-- key); and those without one whose task was at its limit when a claim met them, so that no claim has to walk past them again.
ALTER TABLE jobs ADD COLUMN aside INTEGER NOT NULL DEFAULT 0;
-- Of the first job of a line: the line's place in the rotation. It is the job's own sequence until the line has had a turn,
-- then one drawn at its last turn. None is set while the line is barred, nor on any other job that is ready.
ALTER TABLE jobs ADD COLUMN turn INTEGER;
DROP INDEX jobs_ready;
UPDATE jobs SET aside = 1 WHERE limit_key IS NOT NULL;
CREATE INDEX jobs_ready ON jobs (lane, rank, seq) WHERE state = 2 AND suspect = 0 AND aside = 0;
CREATE INDEX jobs_aside ON jobs (lane, task, limit_key, rank, seq) WHERE state = 2 AND suspect = 0 AND aside = 1;
CREATE INDEX jobs_turn ON jobs (lane, task, rank, turn) WHERE state = 2 AND turn IS NOT NULL;
-- What runs with a key is counted from this, and never from a counter that a crash could leave wrong. (With the state in it,
-- the index answers alone. What runs of a queue or a task is counted from `jobs_held` and the rows: a wider index would cost
-- every job, whether there are limits or not.)
CREATE INDEX jobs_held_key ON jobs (limit_key, state) WHERE state = 3 AND limit_key IS NOT NULL;
UPDATE jobs SET turn = seq WHERE n IN (
    SELECT n FROM (
        SELECT n, min(seq) FROM jobs WHERE state = 2 AND suspect = 0 AND limit_key IS NOT NULL
        GROUP BY lane, rank, task, limit_key
    )
);

-- The lines that are out of the rotation, because their key is at its limit. They have jobs, all of them.
CREATE TABLE bars (
    lane INTEGER NOT NULL,
    task INTEGER NOT NULL,
    key TEXT NOT NULL,
    rank INTEGER NOT NULL,
    turn INTEGER,                           -- drawn at the line's last turn, if it has had one
    -- Since when, under which version of the limits (-1: it may go on), and until when, if it is a rate's bar. One without
    -- an end is lifted by the end of a running job of the key.
    since INTEGER NOT NULL,
    under INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (lane, task, key, rank)
) WITHOUT ROWID;
CREATE INDEX bars_under ON bars (under, until);
CREATE INDEX bars_since ON bars (since);
CREATE INDEX bars_until ON bars (lane, until) WHERE until IS NOT NULL;
CREATE INDEX bars_full ON bars (key) WHERE until IS NULL;

-- Turns and bars follow the jobs' states by themselves; but only where a statement names the column ``aside``, as all do that
-- may move a job with a limit key, so that the statements for all others pay nothing. Such a statement takes the job's own
-- turn away.
CREATE TRIGGER jobs_joins_line AFTER UPDATE OF aside ON jobs
WHEN NEW.limit_key IS NOT NULL AND NEW.state = 2 AND NEW.suspect = 0 AND OLD.state <> 2
BEGIN
    UPDATE jobs SET turn = (
        SELECT CASE WHEN first.n IS NULL OR first.turn = first.seq THEN NEW.seq ELSE first.turn END
        FROM (SELECT 1) LEFT JOIN (
            SELECT n, seq, turn FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 1
                AND lane = NEW.lane AND task = NEW.task AND limit_key = NEW.limit_key AND rank = NEW.rank AND n <> NEW.n
            ORDER BY seq LIMIT 1
        ) AS first
        WHERE first.n IS NULL OR (first.seq > NEW.seq AND first.turn IS NOT NULL)
    )
    WHERE n = NEW.n;
    UPDATE jobs SET turn = NULL WHERE n = (
        SELECT n FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 1
            AND lane = NEW.lane AND task = NEW.task AND limit_key = NEW.limit_key AND rank = NEW.rank AND seq > NEW.seq
        ORDER BY seq LIMIT 1
    ) AND turn IS NOT NULL;
END;
CREATE TRIGGER jobs_leaves_line AFTER UPDATE OF aside ON jobs
WHEN OLD.limit_key IS NOT NULL AND OLD.state = 2 AND OLD.suspect = 0 AND NEW.state <> 2
BEGIN
    UPDATE jobs SET turn = CASE WHEN OLD.turn = OLD.seq THEN seq ELSE OLD.turn END
    WHERE OLD.turn IS NOT NULL AND n = (
        SELECT n FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 1
            AND lane = OLD.lane AND task = OLD.task AND limit_key = OLD.limit_key AND rank = OLD.rank
        ORDER BY seq LIMIT 1
    );
    DELETE FROM bars
    WHERE OLD.turn IS NULL AND lane = OLD.lane AND task = OLD.task AND key = OLD.limit_key AND rank = OLD.rank
        AND NOT EXISTS (
            SELECT 1 FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 1
                AND lane = OLD.lane AND task = OLD.task AND limit_key = OLD.limit_key AND rank = OLD.rank
        );
END;
CREATE TRIGGER jobs_lifts_bars AFTER UPDATE OF aside ON jobs
WHEN OLD.limit_key IS NOT NULL AND OLD.state = 3 AND NEW.state <> 3
BEGIN
    UPDATE bars SET under = -1 WHERE key = OLD.limit_key AND until IS NULL;
END;
