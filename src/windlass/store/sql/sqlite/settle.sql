-- name: succeed_plain
-- Parameters: now, then (row, token, result, end of retention) for each job, then the session. Row numbers are never used
-- twice, so that row, token and session are the proof.
UPDATE jobs
SET state = 4, result = done.column3, finished_at = ?, purge_at = done.column4, settled = 1, holds_key = -holds_key
FROM (VALUES (?, ?, ?, ?)...) AS done
WHERE jobs.n = done.column1 AND jobs.token = done.column2 AND session = ? AND state = 3 AND linked = 0;

-- name: succeed_linked
-- The same for jobs with edges, whose retention waits for their dependants: row, token, result, retention.
UPDATE jobs
SET state = 4, reason = 0, result = done.column3, settled = 1, finished_at = ?1,
    purge_at = CASE WHEN dependants = 0 THEN ?1 + done.column4 END, keep = done.column4, holds_key = -holds_key
FROM (VALUES (?, ?, ?, ?)...) AS done
WHERE jobs.n = done.column1 AND jobs.token = done.column2 AND session = ? AND state = 3;

-- name: read_attempts
SELECT id, n, state, session, token, settled, cancel_requested, linked, lane FROM jobs WHERE id IN (VALUES (?)...);

-- name: give_up_attempt
-- A failure, a snooze or an undeliverable: it will be run again, at a new position. What could be run is undeliverable no
-- longer.
UPDATE jobs
SET state = ?, seq = ?, due_at = coalesce(?, due_at), settled = ?, attempt = attempt - ?, failures = failures + ?,
    snoozes = snoozes + ?, undeliverable_since = CASE WHEN ?8 THEN coalesce(undeliverable_since, ?8) END,
    aside = limit_key IS NOT NULL, turn = NULL
WHERE n = ?;

-- name: release_attempt
UPDATE jobs
SET state = 2, settled = ?1, attempt = attempt - ?2, undeliverable_since = CASE WHEN ?2 THEN undeliverable_since END,
    aside = limit_key IS NOT NULL, turn = NULL
WHERE n = ?3;

-- name: count_end
-- What the end of an attempt counts even where it ends the job.
UPDATE jobs
SET attempt = attempt - ?, failures = failures + ?, snoozes = snoozes + ?,
    undeliverable_since = coalesce(undeliverable_since, ?)
WHERE n = ?;

-- name: add_error
INSERT INTO errors (job, k, error) SELECT ?1, coalesce(max(k), 0) + 1, ?2 FROM errors WHERE job = ?1;

-- name: trim_errors
DELETE FROM errors WHERE job = ?1 AND k <= (SELECT max(k) FROM errors WHERE job = ?1) - ?2;

-- name: unclaim_plain
UPDATE jobs SET state = 2, attempt = attempt - 1, settled = NULL, aside = limit_key IS NOT NULL, turn = NULL
WHERE state = 3 AND session = ? AND request = ? AND cancel_requested = 0
RETURNING lane;

-- name: held_of_request
SELECT n, id, linked, lane FROM jobs WHERE state = 3 AND session = ? AND request = ?;

-- name: give_back
UPDATE jobs SET state = 2, attempt = attempt - 1, settled = NULL, aside = limit_key IS NOT NULL, turn = NULL WHERE n = ?;

-- name: take_back_attempt
UPDATE jobs SET attempt = attempt - 1, settled = NULL WHERE n = ?;

-- name: see_request
UPDATE sessions SET request = max(request, ?) WHERE id = ? RETURNING 1;

-- name: proven
SELECT n FROM jobs WHERE id = ? AND session = ? AND token = ? AND state = 3;

-- name: read_note
SELECT progress, message, log FROM notes WHERE job = ?;

-- name: put_note
INSERT INTO notes (job, progress, message, log) VALUES (?, ?, ?, ?)
ON CONFLICT (job) DO UPDATE SET progress = excluded.progress, message = excluded.message, log = excluded.log;
