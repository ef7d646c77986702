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
-- does the same in one statement, a fifth slower, in the order of row numbers, and without a chance to stop in time.) For
-- lanes in which nothing is expired.
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ? ORDER BY rank, seq LIMIT ?;

-- name: any_expired
SELECT 1 FROM jobs WHERE state < 3 AND attempt = 0 AND expires_at IS NOT NULL AND expires_at <= ? LIMIT 1;

-- name: claim_first
UPDATE jobs
SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?,
    holds_key = nullif(holds_key, 2)
WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ? AND (rank, seq) <= (?, ?);

-- name: claim_some
-- Parameters: session, request, now, then the row number of each job. Who has the turns of their lines now, `end_turns` says,
-- so that no trigger has to for each job.
UPDATE jobs
SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?,
    holds_key = nullif(holds_key, 2), turn = NULL
WHERE n IN (VALUES (?)...);

-- The walks read what is expired, too, and say so at the end of the row, so that a claim knows how much it passes over.

-- name: walk_main
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq,
    -- A job that has started before does not expire.
    attempt = 0 AND expires_at <= ?4
FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ?1 AND (rank, seq) > (?2, ?3)
ORDER BY rank, seq LIMIT ?5;

-- name: walk_aside
-- Those that stand aside for their task's limit.
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq,
    -- A job that has started before does not expire.
    attempt = 0 AND expires_at <= ?5
FROM jobs
WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ?1 AND task = ?2 AND limit_key IS NULL AND (rank, seq) > (?3, ?4)
ORDER BY rank, seq LIMIT ?6;

-- name: read_turn
SELECT plain_next FROM lanes WHERE n = ?;

-- name: keep_turn
UPDATE lanes SET plain_next = ? WHERE n = ?;

-- name: first_rank
SELECT min(rank) FROM jobs WHERE state = 2 AND turn IS NOT NULL AND lane = ? AND task = ? AND rank > ?;

-- name: walk_lines
-- The first job of each line in the rotation, its turn, how many of its key run, as far as it matters, and who is behind it.
-- (lane, task, rank, turn, lines, now, most that matter)
SELECT j.id, j.token, j.task, j.payload, j.options, j.attempt, j.failures, j.snoozes, j.enqueued_at, j.undeliverable_since,
    j.limit_key, j.n, j.linked, j.rank, j.seq, j.attempt = 0 AND j.expires_at <= ?6, j.turn,
    CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = j.limit_key)
        THEN (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = j.limit_key LIMIT ?7)) ELSE 0
    END,
    (
        SELECT n FROM jobs INDEXED BY jobs_aside
        WHERE state = 2 AND suspect = 0 AND aside = 1
            AND lane = ?1 AND task = ?2 AND limit_key = j.limit_key AND rank = ?3 AND seq > j.seq
        ORDER BY seq LIMIT 1
    )
FROM jobs AS j INDEXED BY jobs_turn
WHERE j.state = 2 AND j.turn IS NOT NULL AND j.lane = ?1 AND j.task = ?2 AND j.rank = ?3 AND j.turn > ?4
ORDER BY j.turn LIMIT ?5;

-- name: walk_rounds
-- The same with the first jobs of each line, as many as are asked for at the end; who is behind, the next row says. (A list
-- for each line costs more than one job does.)
SELECT j.id, j.token, j.task, j.payload, j.options, j.attempt, j.failures, j.snoozes, j.enqueued_at, j.undeliverable_since,
    j.limit_key, j.n, j.linked, j.rank, j.seq, j.attempt = 0 AND j.expires_at <= ?6, first.turn,
    CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = first.limit_key)
        THEN (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 3 AND limit_key = first.limit_key LIMIT ?7)) ELSE 0
    END
FROM (
    SELECT limit_key, turn FROM jobs INDEXED BY jobs_turn
    WHERE state = 2 AND turn IS NOT NULL AND lane = ?1 AND task = ?2 AND rank = ?3 AND turn > ?4
    ORDER BY turn LIMIT ?5
) AS first CROSS JOIN jobs AS j ON j.n IN (
    SELECT n FROM jobs INDEXED BY jobs_aside
    WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ?1 AND task = ?2 AND limit_key = first.limit_key AND rank = ?3
    ORDER BY seq LIMIT ?8
);

-- name: walk_line
-- The next job of one line. (lane, task, key, rank, sequence, now)
SELECT j.id, j.token, j.task, j.payload, j.options, j.attempt, j.failures, j.snoozes, j.enqueued_at, j.undeliverable_since,
    j.limit_key, j.n, j.linked, j.rank, j.seq, j.attempt = 0 AND j.expires_at <= ?6,
    NULL, NULL, (
        SELECT n FROM jobs INDEXED BY jobs_aside
        WHERE state = 2 AND suspect = 0 AND aside = 1
            AND lane = ?1 AND task = ?2 AND limit_key = ?3 AND rank = ?4 AND seq > j.seq
        ORDER BY seq LIMIT 1
    )
FROM jobs AS j INDEXED BY jobs_aside
WHERE j.state = 2 AND j.suspect = 0 AND j.aside = 1
    AND j.lane = ?1 AND j.task = ?2 AND j.limit_key = ?3 AND j.rank = ?4 AND j.seq > ?5
ORDER BY j.seq LIMIT 1;

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
UPDATE jobs SET aside = 1 WHERE n IN (VALUES (?)...);

-- name: open_lines
-- For jobs just stored: each that is the first of its line has its turn, and no other. (First and last row number.)
UPDATE jobs SET turn = CASE WHEN turn IS NULL THEN seq END
WHERE n BETWEEN ? AND ? AND state = 2 AND limit_key IS NOT NULL AND (turn IS NULL) = (n = (
    SELECT first.n FROM jobs AS first INDEXED BY jobs_aside
    WHERE first.state = 2 AND first.suspect = 0 AND first.aside = 1 AND first.lane = jobs.lane
        AND first.task = jobs.task AND first.limit_key = jobs.limit_key AND first.rank = jobs.rank
    ORDER BY first.seq LIMIT 1
));

-- name: take_turns
-- The same where only the first of each line among them has a turn: it loses it if there was somebody before.
UPDATE jobs SET turn = NULL
WHERE n BETWEEN ? AND ? AND turn IS NOT NULL AND n <> (
    SELECT first.n FROM jobs AS first INDEXED BY jobs_aside
    WHERE first.state = 2 AND first.suspect = 0 AND first.aside = 1 AND first.lane = jobs.lane
        AND first.task = jobs.task AND first.limit_key = jobs.limit_key AND first.rank = jobs.rank
    ORDER BY first.seq LIMIT 1
);

-- name: end_turns
-- Parameters: (row number, turn) for the first job of each line.
UPDATE jobs SET turn = ended.column2 FROM (VALUES (?, ?)...) AS ended WHERE jobs.n = ended.column1;

-- name: bar_line
INSERT INTO bars (lane, task, key, rank, turn, since, under, until) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: bars_to_lift
-- (now, version of the limits, limit): those whose time has come, those under other limits or whose key has a place again, and
-- those since what is now in the future, the clock having been set back.
SELECT * FROM (
    SELECT * FROM (SELECT turn, lane, task, key, rank FROM bars WHERE under < ?2 LIMIT ?3)
    UNION ALL
    SELECT * FROM (SELECT turn, lane, task, key, rank FROM bars WHERE under = ?2 AND until <= ?1 LIMIT ?3)
    UNION ALL
    SELECT * FROM (SELECT turn, lane, task, key, rank FROM bars WHERE since > ?1 LIMIT ?3)
)
LIMIT ?3;

-- name: reopen_line
-- (turn, lane, task, key, rank)
UPDATE jobs SET turn = coalesce(?1, seq) WHERE n = (
    SELECT n FROM jobs INDEXED BY jobs_aside
    WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ?2 AND task = ?3 AND limit_key = ?4 AND rank = ?5
    ORDER BY seq LIMIT 1
);

-- name: lift_bar
DELETE FROM bars WHERE lane = ? AND task = ? AND key = ? AND rank = ?;

-- name: any_line_full
SELECT 1 FROM bars INDEXED BY bars_full WHERE until IS NULL LIMIT 1;

-- name: let_bars_of
-- Those of keys of which a job has just ended: the next claim lifts them.
UPDATE bars INDEXED BY bars_full SET under = -1
WHERE until IS NULL
    AND key IN (SELECT limit_key FROM jobs, (VALUES (?)...) AS done WHERE jobs.n = done.column1);

-- name: first_bar_to_end
SELECT min(until) FROM bars WHERE until IS NOT NULL AND lane = ?;

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
