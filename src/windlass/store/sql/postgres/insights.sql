-- name: get_jobs
-- In the order of the call.
SELECT v.id, v.task, v.queue, v.requires, v.priority, v.state, v.reason, v.payload, v.options, v.result,
    ARRAY(SELECT e.error FROM windlass.errors e WHERE e.job = v.id ORDER BY e.k) AS errors,
    v.token, v.attempt, v.failures, v.losses, v.snoozes, v.suspect, v.cancel_requested, v.unique_key, v.limit_key, v.session,
    v.enqueued_at, v.due_at, v.expires_at, v.started_at, v.finished_at, v.purge_at, v.sequence, v.undeliverable_since,
    CASE WHEN v.linked THEN (
        SELECT count(*)::integer FROM windlass.edges x WHERE x.child = v.id AND x.policy >= 0 AND x.outcome IS NULL
    ) ELSE 0 END AS parents_open,
    o.progress, o.message, o.log
FROM unnest($1::uuid[]) WITH ORDINALITY AS g (id, k)
    JOIN windlass.all_jobs v ON v.id = g.id LEFT JOIN windlass.notes o ON o.job = v.id
ORDER BY g.k;

-- name: results
SELECT * FROM windlass.results($1);

-- Lists look at 10,000 jobs at most, in the order of their ids, and leave out what may be large. ($1 start, $2 states,
-- $3 queue, $4 task, $5 enqueued before, $6 enqueued from, $7 how many, $8 whether the last error matters.)

-- name: list_newest_first
SELECT v.id, v.task, v.queue, v.requires, v.priority, v.state, v.reason, ''::bytea, NULL, NULL,
    CASE WHEN $8::boolean THEN ARRAY(
        SELECT e.error FROM windlass.errors e WHERE e.job = v.id ORDER BY e.k DESC LIMIT 1
    ) END,
    v.token, v.attempt, v.failures, v.losses, v.snoozes, v.suspect, v.cancel_requested, v.unique_key, v.limit_key, v.session,
    v.enqueued_at, v.due_at, v.expires_at, v.started_at, v.finished_at, v.purge_at, v.sequence, v.undeliverable_since,
    CASE WHEN v.linked THEN (
        SELECT count(*)::integer FROM windlass.edges x WHERE x.child = v.id AND x.policy >= 0 AND x.outcome IS NULL
    ) ELSE 0 END,
    o.progress, o.message, NULL
FROM (SELECT id AS its FROM windlass.bodies WHERE id < $1::uuid ORDER BY id DESC LIMIT 10000) look
    JOIN windlass.all_jobs v ON v.id = look.its LEFT JOIN windlass.notes o ON o.job = v.id
WHERE ($2::smallint[] IS NULL OR v.state = ANY ($2)) AND ($3::text IS NULL OR v.queue = $3)
    AND ($4::text IS NULL OR v.task = $4) AND ($5::bigint IS NULL OR v.enqueued_at < $5)
    AND ($6::bigint IS NULL OR v.enqueued_at >= $6)
ORDER BY v.id DESC LIMIT $7;

-- name: list_oldest_first
SELECT v.id, v.task, v.queue, v.requires, v.priority, v.state, v.reason, ''::bytea, NULL, NULL,
    CASE WHEN $8::boolean THEN ARRAY(
        SELECT e.error FROM windlass.errors e WHERE e.job = v.id ORDER BY e.k DESC LIMIT 1
    ) END,
    v.token, v.attempt, v.failures, v.losses, v.snoozes, v.suspect, v.cancel_requested, v.unique_key, v.limit_key, v.session,
    v.enqueued_at, v.due_at, v.expires_at, v.started_at, v.finished_at, v.purge_at, v.sequence, v.undeliverable_since,
    CASE WHEN v.linked THEN (
        SELECT count(*)::integer FROM windlass.edges x WHERE x.child = v.id AND x.policy >= 0 AND x.outcome IS NULL
    ) ELSE 0 END,
    o.progress, o.message, NULL
FROM (SELECT id AS its FROM windlass.bodies WHERE id > $1::uuid ORDER BY id LIMIT 10000) look
    JOIN windlass.all_jobs v ON v.id = look.its LEFT JOIN windlass.notes o ON o.job = v.id
WHERE ($2::smallint[] IS NULL OR v.state = ANY ($2)) AND ($3::text IS NULL OR v.queue = $3)
    AND ($4::text IS NULL OR v.task = $4) AND ($5::bigint IS NULL OR v.enqueued_at < $5)
    AND ($6::bigint IS NULL OR v.enqueued_at >= $6)
ORDER BY v.id LIMIT $7;

-- name: end_of_look_back
SELECT id FROM windlass.bodies WHERE id < $1::uuid ORDER BY id DESC OFFSET 9999 LIMIT 1;

-- name: end_of_look_forth
SELECT id FROM windlass.bodies WHERE id > $1::uuid ORDER BY id OFFSET 9999 LIMIT 1;

-- name: count_jobs
-- The name of a queue is read from one of its jobs.
WITH counted AS (
    SELECT queue, state, count(*) AS counted, (array_agg(id))[1] AS one FROM windlass.jobs GROUP BY queue, state
    UNION ALL
    SELECT queue, state, count(*), (array_agg(id))[1] FROM windlass.done GROUP BY queue, state
) SELECT b.queue, c.state, c.counted FROM counted c JOIN windlass.bodies b ON b.id = c.one;

-- name: queues
WITH counted AS (
    SELECT queue, count(*) FILTER (WHERE state = 0) AS waiting, count(*) FILTER (WHERE state = 1) AS scheduled,
        count(*) FILTER (WHERE state = 2) AS ready, count(*) FILTER (WHERE state = 3) AS running,
        count(*) FILTER (WHERE state = 2 AND suspect) AS suspects, min(n) FILTER (WHERE state = 2) AS first,
        (array_agg(id))[1] AS one
    FROM windlass.jobs GROUP BY queue
)
SELECT coalesce(b.queue, l.name), coalesce(c.waiting, 0), coalesce(c.scheduled, 0), coalesce(c.ready, 0),
    coalesce(c.running, 0), coalesce(c.suspects, 0),
    (SELECT x.enqueued_at FROM windlass.jobs j JOIN windlass.bodies x ON x.id = j.id
        WHERE j.state = 2 AND j.queue = c.queue AND j.n = c.first),
    l.scope, l.name, l.paused, l.concurrency, l.rate_count, l.rate_per, l.rate_burst
FROM counted c JOIN windlass.bodies b ON b.id = c.one
    FULL JOIN (SELECT * FROM windlass.limits WHERE scope = 0) l ON l.name = b.queue
ORDER BY 1;

-- name: backlog_lanes
WITH counted AS (
    SELECT lane, count(*) AS ready, count(*) FILTER (WHERE suspect) AS suspects, (array_agg(id))[1] AS one
    FROM windlass.jobs WHERE state = 2 GROUP BY lane
)
SELECT c.lane, b.queue, b.requires, c.ready, c.suspects FROM counted c JOIN windlass.bodies b ON b.id = c.one
ORDER BY b.queue, b.requires LIMIT $1;

-- name: lanes
-- From lane to lane along each index of ready jobs, however many jobs stand in each.
WITH RECURSIVE plain (lane) AS (
    (SELECT lane FROM windlass.jobs WHERE state = 2 AND NOT suspect AND NOT aside ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT j.lane FROM windlass.jobs j
            WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane > p.lane ORDER BY j.lane LIMIT 1)
    FROM plain p WHERE p.lane IS NOT NULL
), aside (lane) AS (
    (SELECT lane FROM windlass.jobs WHERE state = 2 AND NOT suspect AND aside ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT j.lane FROM windlass.jobs j
            WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane > a.lane ORDER BY j.lane LIMIT 1)
    FROM aside a WHERE a.lane IS NOT NULL
), suspects (lane) AS (
    (SELECT lane FROM windlass.jobs WHERE state = 2 AND suspect ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT j.lane FROM windlass.jobs j WHERE j.state = 2 AND j.suspect AND j.lane > s.lane ORDER BY j.lane LIMIT 1)
    FROM suspects s WHERE s.lane IS NOT NULL
), ones (id) AS (
    SELECT (SELECT j.id FROM windlass.jobs j
            WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = p.lane LIMIT 1) FROM plain p
    UNION
    SELECT (SELECT j.id FROM windlass.jobs j
            WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = a.lane LIMIT 1) FROM aside a
    UNION
    SELECT (SELECT j.id FROM windlass.jobs j WHERE j.state = 2 AND j.suspect AND j.lane = s.lane LIMIT 1) FROM suspects s
)
SELECT DISTINCT b.queue, b.requires FROM ones o JOIN windlass.bodies b ON b.id = o.id WHERE b.queue = ANY ($1) ORDER BY 1, 2;

-- name: backlog_first
-- Of one lane: of the main line, of each limit key the first, of tasks that stand aside for a limit, and suspects.
SELECT id FROM (
    SELECT id, kind, pos FROM (
        (SELECT id, 0 AS kind, pos FROM windlass.jobs WHERE state = 2 AND NOT suspect AND NOT aside AND lane = $1
            ORDER BY pos LIMIT $2)
        UNION ALL
        (SELECT f.id, 1, f.pos FROM windlass.lines l CROSS JOIN LATERAL (
            SELECT j.id, j.pos FROM windlass.jobs j
            WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = l.lane AND j.task = l.task
                AND j.limit_key = l.key AND j.pos >= l.rank::bigint << 49
            ORDER BY j.pos LIMIT 1
        ) f WHERE l.lane = $1 LIMIT $2)
        UNION ALL
        (SELECT id, 2, pos FROM windlass.jobs
            WHERE state = 2 AND NOT suspect AND aside AND lane = $1 AND limit_key IS NULL ORDER BY pos LIMIT $2)
        UNION ALL
        (SELECT id, 3, pos FROM windlass.jobs WHERE state = 2 AND suspect AND lane = $1 ORDER BY pos LIMIT $2)
    ) kinds ORDER BY kind, pos LIMIT $2
) chosen;

-- name: backlog_later
(SELECT 1 AS kind, id FROM windlass.jobs WHERE state = 1 ORDER BY due_at, n LIMIT $1)
UNION ALL
(SELECT 2, id FROM windlass.jobs WHERE state = 1 ORDER BY due_at DESC, n DESC LIMIT 1)
UNION ALL
(SELECT DISTINCT 3, j.id FROM windlass.edges e JOIN windlass.jobs j ON j.id = e.child
    WHERE NOT e.closed AND j.state = 0 LIMIT $1);

-- name: open_parents
SELECT e.parent, e.policy, coalesce(
    (SELECT j.state FROM windlass.jobs j WHERE j.id = e.parent), (SELECT d.state FROM windlass.done d WHERE d.id = e.parent)
) FROM windlass.edges e
WHERE e.child = $1 AND e.policy >= 0 AND coalesce(e.outcome, 0) = 0 AND EXISTS (SELECT FROM windlass.bodies b WHERE b.id = $1)
ORDER BY e.n LIMIT $2;

-- name: limits
SELECT scope, name, paused, concurrency, rate_count, rate_per, rate_burst FROM windlass.limits
WHERE $1::smallint IS NULL OR scope = $1 ORDER BY scope, name;

-- name: buckets
SELECT b.scope, b.name, b.debt, windlass.instant($3) - b.at FROM windlass.buckets b
    JOIN unnest($1::smallint[], $2::text[]) AS g (scope, name) ON g.scope = b.scope AND g.name = b.name;

-- name: running
WITH counted AS (
    SELECT 0 AS scope, count(*) AS counted, (array_agg(id))[1] AS one FROM windlass.jobs WHERE state = 3 GROUP BY queue
    UNION ALL
    SELECT 1, count(*), (array_agg(id))[1] FROM windlass.jobs WHERE state = 3 GROUP BY task
    UNION ALL
    SELECT 2, count(*), (array_agg(id))[1] FROM windlass.jobs WHERE state = 3 AND limit_key IS NOT NULL GROUP BY limit_key
)
SELECT c.scope, CASE c.scope WHEN 0 THEN b.queue WHEN 1 THEN b.task ELSE b.limit_key END, c.counted
FROM counted c JOIN windlass.bodies b ON b.id = c.one;

-- name: sessions
SELECT x.record, x.opened_at, x.lease_until, x.renewals, x.revoked,
    (SELECT count(*)::integer FROM windlass.jobs j WHERE j.state = 3 AND j.session = x.id),
    ARRAY(SELECT c.command FROM windlass.commands c WHERE c.session = x.id ORDER BY c.command)
FROM windlass.sessions x ORDER BY x.opened_at, x.id;
