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
WHERE state = 2 AND suspect = 0 AND lane = ? AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: claim_first
UPDATE jobs
SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?,
    holds_key = nullif(holds_key, 2)
WHERE state = 2 AND suspect = 0 AND lane = ? AND (rank, seq) <= (?, ?)
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0);

-- name: claim_one
UPDATE jobs
SET state = 3, token = token + 1, attempt = attempt + 1, session = ?, request = ?, started_at = ?,
    holds_key = nullif(holds_key, 2)
WHERE n = ?;

-- name: read_ready
SELECT id, token, task, payload, options, attempt, failures, snoozes, enqueued_at, undeliverable_since, limit_key,
    n, linked, rank, seq
FROM jobs WHERE n = ?;

-- name: walk_ready
SELECT n, task, limit_key, length(payload), rank, seq FROM jobs
WHERE state = 2 AND suspect = 0 AND lane = ? AND (rank, seq) > (?, ?)
    -- A job that has started before does not expire.
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: walk_suspects
SELECT n, task, limit_key, length(payload), rank, seq FROM jobs
WHERE state = 2 AND suspect = 1 AND lane = ? AND (rank, seq) > (?, ?)
    -- A job that has started before does not expire.
    AND (expires_at IS NULL OR expires_at > ? OR attempt > 0)
ORDER BY rank, seq LIMIT ?;

-- name: running_counts
SELECT lane, task, limit_key, count(*) FROM jobs WHERE state = 3 GROUP BY lane, task, limit_key;

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
