-- name: read_job
SELECT
    id, lane, task, state, reason, rank, seq, token, session, attempt, failures, losses, snoozes, suspect,
    cancel_requested, enqueued_at, due_at, expires_at, started_at, finished_at, purge_at, unique_key, limit_key,
    options, payload, result, progress, message, log, jobs.n,
    needs + (SELECT count(*) FROM edges INDEXED BY edges_wanting_failure WHERE child = jobs.n AND policy = 2 AND outcome IS NULL),
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
    needs + (SELECT count(*) FROM edges INDEXED BY edges_wanting_failure WHERE child = jobs.n AND policy = 2 AND outcome IS NULL),
    undeliverable_since
FROM jobs LEFT JOIN notes ON notes.job = jobs.n
WHERE id < ? AND id >= ? /* filter */
ORDER BY id DESC LIMIT ?;

-- name: list_oldest_first
SELECT
    id, lane, task, state, reason, rank, seq, token, session, attempt, failures, losses, snoozes, suspect,
    cancel_requested, enqueued_at, due_at, expires_at, started_at, finished_at, purge_at, unique_key, limit_key,
    NULL, x'', NULL, progress, message, '', jobs.n,
    needs + (SELECT count(*) FROM edges INDEXED BY edges_wanting_failure WHERE child = jobs.n AND policy = 2 AND outcome IS NULL),
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
SELECT lane, count(*) FROM jobs WHERE state = 0 GROUP BY lane;

-- name: count_scheduled
SELECT lane, count(*) FROM jobs WHERE state = 1 GROUP BY lane;

-- Row numbers grow in the order in which jobs are stored, and every index has them: so that the oldest is found without a
-- look at the jobs.

-- name: count_ready
SELECT lane, sum(some), min(oldest) FROM (
    SELECT lane, count(*) AS some, min(n) AS oldest FROM jobs INDEXED BY jobs_ready
    WHERE state = 2 AND suspect = 0 AND aside = 0 GROUP BY lane
    UNION ALL
    SELECT lane, count(*), min(n) FROM jobs INDEXED BY jobs_aside
    WHERE state = 2 AND suspect = 0 AND aside = 1 GROUP BY lane
) GROUP BY lane;

-- name: count_suspects
SELECT lane, count(*), min(n) FROM jobs INDEXED BY jobs_suspect WHERE state = 2 AND suspect = 1 GROUP BY lane;

-- name: enqueued_at
SELECT enqueued_at FROM jobs WHERE n = ?;

-- name: count_running
SELECT lane, count(*) FROM jobs WHERE state = 3 GROUP BY lane;

-- name: running_of_keys
SELECT limit_key, count(*) FROM jobs WHERE state = 3 AND limit_key IS NOT NULL GROUP BY limit_key;

-- name: list_sessions
SELECT record, opened_at, lease_until, renewals, revoked, id,
    (SELECT count(*) FROM jobs WHERE state = 3 AND session = sessions.id)
FROM sessions ORDER BY opened_at, id;

-- name: listed_job
SELECT
    id, lane, task, state, reason, rank, seq, token, session, attempt, failures, losses, snoozes, suspect,
    cancel_requested, enqueued_at, due_at, expires_at, started_at, finished_at, purge_at, unique_key, limit_key,
    NULL, x'', NULL, progress, message, '', jobs.n,
    needs + (SELECT count(*) FROM edges INDEXED BY edges_wanting_failure WHERE child = jobs.n AND policy = 2 AND outcome IS NULL),
    undeliverable_since
FROM jobs LEFT JOIN notes ON notes.job = jobs.n WHERE jobs.n = ?;

-- name: requirements_in
SELECT queue, requires FROM lanes WHERE queue = ? ORDER BY requires;

-- name: first_in_main_line
SELECT n FROM jobs WHERE state = 2 AND suspect = 0 AND aside = 0 AND lane = ? ORDER BY rank, seq LIMIT ?;

-- name: first_suspects
SELECT n FROM jobs WHERE state = 2 AND suspect = 1 AND lane = ? ORDER BY rank, seq LIMIT ?;

-- name: first_of_lines
-- Of each limit key the first job.
SELECT * FROM (
    SELECT * FROM (SELECT n FROM jobs INDEXED BY jobs_turn WHERE state = 2 AND turn IS NOT NULL AND lane = ?1 LIMIT ?2)
    UNION ALL
    SELECT * FROM (
        SELECT (
            SELECT n FROM jobs INDEXED BY jobs_aside
            WHERE state = 2 AND suspect = 0 AND aside = 1
                AND lane = bars.lane AND task = bars.task AND limit_key = bars.key AND rank = bars.rank
            ORDER BY seq LIMIT 1
        )
        FROM bars WHERE lane = ?1 LIMIT ?2
    )
)
LIMIT ?2;

-- name: first_task_aside
-- From task to task along the index, however many jobs each has.
SELECT min(task) FROM jobs INDEXED BY jobs_aside WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ? AND task > ?;

-- name: first_aside
SELECT n FROM jobs INDEXED BY jobs_aside
WHERE state = 2 AND suspect = 0 AND aside = 1 AND lane = ? AND task = ? AND limit_key IS NULL ORDER BY rank, seq LIMIT ?;

-- name: first_scheduled
SELECT n FROM jobs WHERE state = 1 ORDER BY due_at, n LIMIT ?;

-- name: last_scheduled
SELECT n FROM jobs WHERE state = 1 ORDER BY due_at DESC, n DESC LIMIT 1;

-- name: first_waiting
SELECT n FROM jobs WHERE state = 0 LIMIT ?;

-- name: parents_waited_for
SELECT edges.parent, edges.policy, parents.state
FROM jobs JOIN edges ON edges.child = jobs.n LEFT JOIN jobs AS parents ON parents.id = edges.parent
WHERE jobs.id = ? AND edges.policy = ? AND edges.outcome IS NULL LIMIT ?;
