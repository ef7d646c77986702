-- name: claim_session
-- Spends the request number if nothing speaks against it.
UPDATE sessions SET request = ?1 WHERE id = ?2 AND revoked = 0 AND request < ?1 AND alone = 0 RETURNING 1;

-- name: read_claimer
SELECT revoked, request, alone FROM sessions WHERE id = ?;

-- name: spend_request
UPDATE sessions SET request = ?, alone = ? WHERE id = ?;

-- name: holds_any
SELECT 1 FROM jobs WHERE state = 3 AND session = ? LIMIT 1;

-- name: holds_suspect
SELECT 1 FROM jobs WHERE state = 3 AND session = ? AND suspect = 1 LIMIT 1;

-- name: first_ready
-- What a claim takes, in its order; `claim_first` then takes all up to the last one that fits. (One UPDATE with RETURNING
-- does the same in one statement, a fifth slower, in the order of row numbers, and without a chance to stop in time.)
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM jobs
-- A job that has started before does not expire.
WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ? AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: any_expired
SELECT 1 FROM jobs WHERE state < 3 AND attempt = 0 AND expires_at IS NOT NULL AND expires_at <= ? LIMIT 1;

-- name: first_ready_beside_expired
-- The same, but looking at a bounded number of jobs.
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM (
    SELECT * FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ?1 ORDER BY rank, seq LIMIT ?3 + 2000
)
WHERE expires_at IS NULL OR expires_at > ?2 OR attempt > 0
LIMIT ?3;

-- name: claim_first
UPDATE jobs
SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?,
    holds_key = nullif(holds_key, 2)
WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ? AND (rank, seq) <= (?, ?)
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0);

-- name: claim_some
-- Parameters: session, request, now, then the row number of each job. The lines of limit keys are looked after by
-- `close_lines`, so that no trigger has to for each job.
UPDATE jobs
SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?,
    holds_key = nullif(holds_key, 2)
FROM (VALUES (?)...) AS taken
WHERE jobs.n = taken.column1;

-- name: walk_main
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM jobs
WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ? AND (rank, seq) > (?, ?)
    -- A job that has started before does not expire.
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: walk_aside
-- Those that stand aside for their task's limit.
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM jobs
WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ? AND task = ? AND limit_key IS NULL AND (rank, seq) > (?, ?)
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: read_turn
SELECT plain_next FROM lanes WHERE n = ?;

-- name: keep_turn
UPDATE lanes SET plain_next = ? WHERE n = ?;

-- name: first_rank
SELECT min(rank) FROM lines WHERE barred_at IS NULL AND lane = ? AND task = ? AND rank > ?;

-- name: walk_lines
-- The first job of each line in the rotation, its turn, and how many of its key run, as far as it matters.
-- (lane, task, rank, turn, lines, now, most that matter)
SELECT j.id, j.token, j.task, j.payload, j.options, j.attempt, j.failures, j.snoozes, j.enqueued_at, j.undeliverable_since,
    j.limit_key, j.n, j.linked, j.rank, j.seq, l.turn,
    (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = l.key LIMIT ?7))
FROM lines AS l CROSS JOIN jobs AS j ON j.n = (
    SELECT n FROM jobs INDEXED BY jobs_aside
    WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ?1 AND task = ?2 AND limit_key = l.key AND rank = ?3
        AND (expires_at IS NULL OR expires_at > ?6 OR attempt > 0)
    ORDER BY seq LIMIT 1
)
WHERE l.barred_at IS NULL AND l.lane = ?1 AND l.task = ?2 AND l.rank = ?3 AND l.turn > ?4
ORDER BY l.turn LIMIT ?5;

-- name: walk_rounds
-- The same with the first jobs of each line, as many as are asked for at the end. (A list for each line costs more than
-- one job does.)
SELECT j.id, j.token, j.task, j.payload, j.options, j.attempt, j.failures, j.snoozes, j.enqueued_at, j.undeliverable_since,
    j.limit_key, j.n, j.linked, j.rank, j.seq, l.turn,
    (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = l.key LIMIT ?7))
FROM (
    SELECT key, turn FROM lines WHERE barred_at IS NULL AND lane = ?1 AND task = ?2 AND rank = ?3 AND turn > ?4
    ORDER BY turn LIMIT ?5
) AS l CROSS JOIN jobs AS j ON j.n IN (
    SELECT n FROM jobs INDEXED BY jobs_aside
    WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ?1 AND task = ?2 AND limit_key = l.key AND rank = ?3
        AND (expires_at IS NULL OR expires_at > ?6 OR attempt > 0)
    ORDER BY seq LIMIT ?8
);

-- name: next_task_aside
-- One step from task to task along the index, however many jobs each has.
SELECT min(task) FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ? AND task > ?;

-- name: walk_suspects
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM jobs
WHERE state = 2 AND suspect = 1 AND lane = ? AND (rank, seq) > (?, ?)
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: stand_aside
UPDATE jobs SET aside = 1 FROM (VALUES (?)...) AS met WHERE jobs.n = met.column1;

-- name: open_lines
-- For jobs just stored, of which some may have been stored before.
INSERT OR IGNORE INTO lines (lane, rank, task, key, turn)
SELECT lane, rank, task, limit_key, seq FROM jobs
WHERE n BETWEEN ? AND ? AND state = 2 AND limit_key IS NOT NULL ORDER BY n;

-- name: close_lines
-- Those between two turns that have no jobs any more. (lane, task, rank, from, to)
DELETE FROM lines INDEXED BY lines_rotation
WHERE barred_at IS NULL AND lane = ?1 AND task = ?2 AND rank = ?3 AND turn BETWEEN ?4 AND ?5 AND NOT EXISTS (
    SELECT 1 FROM jobs INDEXED BY jobs_aside
    WHERE state = 2 AND suspect = 0 AND aside = 1
        AND jobs.lane = ?1 AND jobs.task = ?2 AND limit_key = lines.key AND jobs.rank = ?3
);

-- name: end_turns
-- Parameters: (key, new turn) for each line, then (lane, task, rank).
UPDATE lines SET turn = ended.column2
FROM (VALUES (?, ?)...) AS ended WHERE lane = ? AND task = ? AND key = ended.column1 AND rank = ?;

-- name: bar_line
UPDATE lines SET barred_at = ?, barred_under = ?, barred_until = ?
WHERE lane = ? AND task = ? AND key = ? AND rank = ?;

-- name: lines_to_reopen
-- (now, version of the limits, limit): those whose time has come, those that were barred under other limits, and those
-- that were barred at what is now in the future, the clock having been set back.
SELECT * FROM (
    SELECT * FROM (SELECT lane, task, key, rank FROM lines WHERE barred_at IS NOT NULL AND barred_under < ?2 LIMIT ?3)
    UNION ALL
    SELECT * FROM (
        SELECT lane, task, key, rank FROM lines
        WHERE barred_at IS NOT NULL AND barred_under = ?2 AND barred_until <= ?1 LIMIT ?3
    )
    UNION ALL
    SELECT * FROM (SELECT lane, task, key, rank FROM lines WHERE barred_at IS NOT NULL AND barred_at > ?1 LIMIT ?3)
)
LIMIT ?3;

-- name: reopen_line
UPDATE lines SET barred_at = NULL, barred_under = NULL, barred_until = NULL
WHERE lane = ? AND task = ? AND key = ? AND rank = ?;

-- name: any_line_full
SELECT 1 FROM lines INDEXED BY lines_full WHERE barred_at IS NOT NULL AND barred_until IS NULL LIMIT 1;

-- name: reopen_lines_of
-- Those of keys of which a job has just ended.
UPDATE lines INDEXED BY lines_full SET barred_at = NULL, barred_under = NULL
WHERE barred_at IS NOT NULL AND barred_until IS NULL
    AND key IN (SELECT limit_key FROM jobs, (VALUES (?)...) AS done WHERE jobs.n = done.column1);

-- name: first_bar_to_end
SELECT min(barred_until) FROM lines WHERE barred_until IS NOT NULL AND lane = ?;

-- name: running_counts
SELECT lane, task, count(*) FROM jobs INDEXED BY jobs_held WHERE state = 3 GROUP BY lane, task;

-- name: running_of_key
-- At most as many as matter.
SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = ? LIMIT ?);

-- name: read_limits
SELECT scope, name, paused, concurrency, rate_count, rate_per, rate_burst FROM limits ORDER BY scope, name;

-- name: put_limit
INSERT INTO limits (scope, name, paused, concurrency, rate_count, rate_per, rate_burst) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, name) DO UPDATE SET
    paused = excluded.paused, concurrency = excluded.concurrency,
    rate_count = excluded.rate_count, rate_per = excluded.rate_per, rate_burst = excluded.rate_burst;

-- name: drop_limit
DELETE FROM limits WHERE scope = ? AND name = ?;

-- name: bump_limits
UPDATE meta SET limits_version = limits_version + 1;

-- name: read_bucket
SELECT debt, at FROM buckets WHERE scope = ? AND name = ?;

-- name: put_bucket
INSERT INTO buckets (scope, name, debt, at, full_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (scope, name) DO UPDATE SET debt = excluded.debt, at = excluded.at, full_at = excluded.full_at;

-- name: full_buckets
SELECT scope, name, debt, at FROM buckets WHERE full_at <= ? LIMIT ?;

-- name: drop_bucket
DELETE FROM buckets WHERE scope = ? AND name = ?;
