-- name: is_due_before
SELECT 1 FROM jobs WHERE state = 1 AND due_at < ? LIMIT 1;

-- name: expired_jobs
SELECT n, id, linked FROM jobs
WHERE state < 3 AND attempt = 0 AND expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at, n LIMIT ?;

-- name: due_jobs
SELECT n, lane FROM jobs WHERE state = 1 AND due_at <= ? ORDER BY due_at, n LIMIT ?;

-- name: make_ready
UPDATE jobs SET state = 2, seq = ?, aside = limit_key IS NOT NULL, turn = NULL WHERE n = ?;

-- name: next_due
SELECT min(due_at) FROM jobs WHERE state = 1;

-- name: purgeable_jobs
SELECT n, id, linked FROM jobs WHERE purge_at IS NOT NULL AND purge_at <= ? ORDER BY purge_at, n LIMIT ?;

-- name: delete_job
DELETE FROM jobs WHERE n = ?;

-- name: delete_errors
DELETE FROM errors WHERE job = ?;

-- name: delete_note
DELETE FROM notes WHERE job = ?;

-- name: delete_edges
DELETE FROM edges WHERE child = ?;
