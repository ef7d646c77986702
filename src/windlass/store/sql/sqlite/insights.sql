-- name: read_job
SELECT
    id, lane, task, state, reason, rank, seq, token, session, attempt, failures, losses, snoozes, suspect,
    cancel_requested, enqueued_at, due_at, expires_at, started_at, finished_at, purge_at, unique_key, limit_key,
    options, payload, result, progress, message, log, jobs.n,
    CASE WHEN linked THEN (SELECT count(*) FROM edges WHERE child = jobs.n AND outcome IS NULL) ELSE 0 END,
    undeliverable_since
FROM jobs LEFT JOIN notes ON notes.job = jobs.n
WHERE id = ?;

-- /* filter */ is replaced by conditions on lane, task, state and enqueued_at, which are written here and nowhere else.
-- The ids between which rows are looked at are bounded by those of `end_of_look`. Large columns are left out.

-- name: list_newest_first
SELECT
    id, lane, task, state, reason, rank, seq, token, session, attempt, failures, losses, snoozes, suspect,
    cancel_requested, enqueued_at, due_at, expires_at, started_at, finished_at, purge_at, unique_key, limit_key,
    NULL, x'', NULL, progress, message, '', jobs.n,
    CASE WHEN linked THEN (SELECT count(*) FROM edges WHERE child = jobs.n AND outcome IS NULL) ELSE 0 END,
    undeliverable_since
FROM jobs LEFT JOIN notes ON notes.job = jobs.n
WHERE id < ? AND id >= ? /* filter */
ORDER BY id DESC LIMIT ?;

-- name: list_oldest_first
SELECT
    id, lane, task, state, reason, rank, seq, token, session, attempt, failures, losses, snoozes, suspect,
    cancel_requested, enqueued_at, due_at, expires_at, started_at, finished_at, purge_at, unique_key, limit_key,
    NULL, x'', NULL, progress, message, '', jobs.n,
    CASE WHEN linked THEN (SELECT count(*) FROM edges WHERE child = jobs.n AND outcome IS NULL) ELSE 0 END,
    undeliverable_since
FROM jobs LEFT JOIN notes ON notes.job = jobs.n
WHERE id > ? AND id <= ? /* filter */
ORDER BY id LIMIT ?;

-- name: end_of_look_back
SELECT id FROM jobs WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?;

-- name: end_of_look_forth
SELECT id FROM jobs WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?;

-- name: last_error
SELECT error FROM errors WHERE job = ? ORDER BY k DESC LIMIT 1;

-- name: read_errors
SELECT error FROM errors WHERE job = ? ORDER BY k;

-- name: read_result
SELECT id, state, reason, result, (SELECT error FROM errors WHERE job = jobs.n ORDER BY k DESC LIMIT 1)
FROM jobs WHERE id = ? AND state >= 4;

-- name: count_jobs
SELECT queue, state, sum(some) FROM (SELECT lane, state, count(*) AS some FROM jobs GROUP BY lane, state)
JOIN lanes ON lanes.n = lane GROUP BY queue, state;

-- name: count_waiting
SELECT lane, count(*) FROM jobs
WHERE state = 0 AND n IN (SELECT child FROM edges WHERE closed = 0) GROUP BY lane;

-- name: count_scheduled
SELECT lane, count(*) FROM jobs WHERE state = 1 GROUP BY lane;

-- name: count_ready
SELECT lane, count(*), min(enqueued_at) FROM jobs WHERE state = 2 AND suspect = 0 GROUP BY lane;

-- name: count_suspects
SELECT lane, count(*), min(enqueued_at) FROM jobs WHERE state = 2 AND suspect = 1 GROUP BY lane;

-- name: count_running
SELECT lane, count(*) FROM jobs WHERE state = 3 GROUP BY lane;

-- name: running_of_keys
SELECT limit_key, count(*) FROM jobs WHERE state = 3 AND limit_key IS NOT NULL GROUP BY limit_key;

-- name: list_sessions
SELECT record, opened_at, lease_until, renewals, revoked, id,
    (SELECT count(*) FROM jobs WHERE state = 3 AND session = sessions.id)
FROM sessions ORDER BY opened_at, id;
