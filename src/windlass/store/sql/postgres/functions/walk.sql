-- One claim's way through a lane in which not all jobs are alike: some have limit keys, or limits touch them. Jobs come by
-- rank (9 - priority) and, within one, jobs without a limit key and lines of limit keys by turns. See
-- windlass.store.memory.walk, which does the same.

CREATE TYPE walk AS (taken integer, bytes bigint, more boolean, retry_in bigint, jobs uuid[]);
CREATE TYPE next_job AS (id uuid, pos bigint, task bigint);

-- How long the bucket of a rate makes the next job wait. A bucket whose burst is smaller than it was, or that was last used
-- in what is now the future, fills again from here on.
CREATE FUNCTION bucket_wait(
    its_scope smallint, its_name text, count bigint, per bigint, burst bigint, t bigint
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    b buckets%ROWTYPE;
    still bigint;
BEGIN
    SELECT * INTO b FROM buckets x WHERE x.scope = its_scope AND x.name = its_name;
    IF NOT FOUND THEN RETURN 0; END IF;
    still := debt_left(b.debt, t - b.at, count);
    IF still > burst * per OR b.at > t THEN
        still := least(still, burst * per);
        PERFORM put_bucket(its_scope, its_name, still, count, t);
    END IF;
    RETURN greatest(0, ceil((still - (burst - 1) * per)::numeric / count)::bigint);
END $$;

CREATE FUNCTION debt_left(debt bigint, since bigint, count bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN since <= 0 THEN debt
        WHEN since > debt / count THEN 0
        ELSE greatest(0, debt - since * count)
    END
$$;

CREATE FUNCTION put_bucket(its_scope smallint, its_name text, its_debt bigint, count bigint, t bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO buckets (scope, name, debt, at, full_at)
    VALUES (its_scope, its_name, its_debt, t, t + ceil(its_debt::numeric / count)::bigint)
    ON CONFLICT (scope, name) DO UPDATE SET debt = excluded.debt, at = excluded.at, full_at = excluded.full_at;
END $$;

CREATE FUNCTION spend_token(l limits, its_name text, t bigint) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    b buckets%ROWTYPE;
BEGIN
    IF l.rate_count IS NULL THEN RETURN; END IF;
    SELECT * INTO b FROM buckets x WHERE x.scope = l.scope AND x.name = its_name;
    PERFORM put_bucket(
        l.scope, its_name, CASE WHEN b.debt IS NULL THEN 0 ELSE debt_left(b.debt, t - b.at, l.rate_count) END + l.rate_per,
        l.rate_count, t
    );
END $$;

-- How long what governs a name lets nothing start, `running` being under it: 0 not at all, -1 nobody knows.
CREATE FUNCTION limit_wait(l limits, its_name text, running integer, t bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    IF l.scope IS NULL THEN RETURN 0; END IF;
    IF l.paused OR running >= l.concurrency THEN RETURN -1; END IF;
    IF l.rate_count IS NULL THEN RETURN 0; END IF;
    RETURN bucket_wait(l.scope, its_name, l.rate_count, l.rate_per, l.rate_burst, t);
END $$;

-- The record that governs a limit key: its own, or its group's.
CREATE FUNCTION record_of_key(its_key text) RETURNS limits LANGUAGE plpgsql AS $$
DECLARE
    l limits;
BEGIN
    SELECT * INTO l FROM limits x WHERE x.scope = 2 AND x.name = its_key;
    IF NOT FOUND THEN SELECT * INTO l FROM limits x WHERE x.scope = 2 AND x.name = split_part(its_key, ':', 1); END IF;
    RETURN l;
END $$;

CREATE FUNCTION running_of_queue(l limits) RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN l.concurrency IS NULL THEN 0 ELSE (
        SELECT count(*)::integer FROM (SELECT FROM jobs j WHERE j.state = 3 AND j.queue = l.number LIMIT l.concurrency) x
    ) END
$$;
CREATE FUNCTION running_of_task(l limits) RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN l.concurrency IS NULL THEN 0 ELSE (
        SELECT count(*)::integer FROM (SELECT FROM jobs j WHERE j.state = 3 AND j.task = l.number LIMIT l.concurrency) x
    ) END
$$;
CREATE FUNCTION running_of_key(l limits, its_key text) RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN l.concurrency IS NULL THEN 0 ELSE (
        SELECT count(*)::integer FROM (SELECT FROM jobs j WHERE j.state = 3 AND j.limit_key = its_key LIMIT l.concurrency) x
    ) END
$$;

CREATE FUNCTION start_job(t bigint, s uuid, its_request bigint, job uuid) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    UPDATE jobs SET
        state = 3, token = token + 1, attempt = attempt + 1, session = s, request = its_request, started_at = t,
        settled = NULL, aside = aside,
        key = CASE WHEN key IS NOT NULL AND (SELECT unique_until FROM bodies b WHERE b.id = job) = 2 THEN NULL ELSE key END
    WHERE id = job;
END $$;

-- Puts barred lines into the rotation again where that may have changed: their time has come, other limits hold, the clock
-- was set back. And jobs that a stranger's transaction stored into their lines. Answers whether there may be more of them.
CREATE FUNCTION mend_lines(t bigint, its_lane bigint) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    under bigint;
    mended integer;
    lined integer;
BEGIN
    SELECT limits_version INTO under FROM meta;
    WITH due AS (
        (SELECT lane, task, key, rank FROM lines WHERE barred_at IS NOT NULL AND barred_under < under LIMIT 1000)
        UNION
        (SELECT lane, task, key, rank FROM lines
            WHERE barred_at IS NOT NULL AND barred_under = under AND barred_until <= t LIMIT 1000)
        UNION
        (SELECT lane, task, key, rank FROM lines WHERE barred_at IS NOT NULL AND barred_at > t LIMIT 1000)
    )
    UPDATE lines l SET barred_at = NULL, barred_under = NULL, barred_until = NULL
    FROM due WHERE l.lane = due.lane AND l.task = due.task AND l.key = due.key AND l.rank = due.rank;
    GET DIAGNOSTICS mended = ROW_COUNT;
    UPDATE jobs SET lined = true, aside = true WHERE id IN (
        SELECT id FROM jobs WHERE lane = its_lane AND NOT lined ORDER BY pos LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS lined = ROW_COUNT;
    RETURN mended >= 1000 OR lined >= 1000;
END $$;

CREATE FUNCTION walk_lane(
    w walk, t bigint, s uuid, request bigint, its_lane bigint, its_queue text, want integer
) RETURNS walk LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    line_first boolean;
    line_next boolean;
    left_out bigint[] := '{}';
    q limits;
    q_running integer := 0;
    tl limits;
    task_limits limits[] := ARRAY(SELECT x FROM limits x WHERE x.scope = 1);
    task_running integer[] := '{}';
    kl limits;
    has_key_limits boolean := EXISTS (SELECT FROM limits x WHERE x.scope = 2);
    tasks bigint[];             -- those with jobs aside, or with lines
    p next_job;                 -- the next job without a limit key
    p_known boolean := false;
    p_behind bigint := -1;
    l lines%ROWTYPE;             -- the next line
    k next_job;                 -- and its first job
    l_known boolean := false;
    l_rank smallint := -1;
    l_turn bigint := 0;
    c next_job;
    tie boolean;
    keyed boolean;
    at integer;
    size integer;
    wait bigint;
    waits bigint := NULL;
    enough boolean := true;
    under bigint;
    skipped boolean := false;
BEGIN
    PERFORM lock_lines();
    SELECT limits_version INTO under FROM meta;
    w.jobs := '{}';
    IF mend_lines(t, its_lane) THEN w.more := true; END IF;
    SELECT x.line_next INTO line_next FROM turns x WHERE x.lane = its_lane;
    line_next := coalesce(line_next, true);
    line_first := line_next;
    SELECT * INTO q FROM limits x WHERE x.scope = 0 AND x.name = its_queue;
    q_running := running_of_queue(q);
    FOREACH tl IN ARRAY task_limits LOOP
        task_running := task_running || running_of_task(tl);
    END LOOP;
    -- From task to task along the index, however many jobs each has.
    tasks := ARRAY(
        WITH RECURSIVE step (task) AS (
            (SELECT j.task FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = its_lane
                ORDER BY j.task LIMIT 1)
            UNION ALL
            SELECT (SELECT j.task FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = its_lane
                AND j.task > step.task ORDER BY j.task LIMIT 1)
            FROM step WHERE step.task IS NOT NULL
        ) SELECT step.task FROM step WHERE step.task IS NOT NULL
    );
    LOOP
        IF cardinality(w.jobs) >= want THEN EXIT; END IF;
        IF NOT p_known THEN
            p := NULL;
            SELECT j.id, j.pos, j.task INTO p FROM (
                (SELECT j.id, j.pos, j.task FROM jobs j
                WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = its_lane AND j.pos > p_behind
                    AND j.task <> ALL (left_out) AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
                ORDER BY j.pos LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
            ) j;
            FOR c IN
                SELECT a.id, a.pos, a.task FROM unnest(tasks) AS g (task) CROSS JOIN LATERAL (
                    SELECT j.id, j.pos, j.task FROM jobs j
                    WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = its_lane AND j.task = g.task
                        AND j.limit_key IS NULL AND j.pos > p_behind
                        AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
                    ORDER BY j.pos LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
                ) a WHERE g.task <> ALL (left_out)
            LOOP
                IF p.pos IS NULL OR c.pos < p.pos THEN p := c; END IF;
            END LOOP;
            p_known := true;
        END IF;
        WHILE NOT l_known LOOP
            l := NULL;
            k := NULL;
            SELECT a.* INTO l FROM unnest(tasks) AS g (task) CROSS JOIN LATERAL (
                SELECT x.* FROM lines x
                WHERE x.barred_at IS NULL AND x.lane = its_lane AND x.task = g.task AND (x.rank, x.turn) > (l_rank, l_turn)
                ORDER BY x.rank, x.turn LIMIT 1
            ) a WHERE g.task <> ALL (left_out) ORDER BY a.rank, a.turn LIMIT 1;
            EXIT WHEN l.turn IS NULL;
            SELECT j.id, j.pos, j.task INTO k FROM jobs j
            WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = its_lane AND j.task = l.task
                AND j.limit_key = l.key AND j.pos >= l.rank::bigint << 49 AND j.pos < (l.rank + 1)::bigint << 49
                AND j.lined AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
            ORDER BY j.pos LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
            EXIT WHEN k.pos IS NOT NULL;
            -- Nothing in it may start now: pass over it; close it if that is because there is nothing.
            DELETE FROM lines x
            WHERE x.lane = its_lane AND x.task = l.task AND x.key = l.key AND x.rank = l.rank AND NOT EXISTS (
                SELECT FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lined AND j.lane = its_lane
                    AND j.task = l.task AND j.limit_key = l.key AND j.pos >= l.rank::bigint << 49
                    AND j.pos < (l.rank + 1)::bigint << 49
            );
            l_rank := l.rank;
            l_turn := l.turn;
        END LOOP;
        l_known := true;
        IF p.pos IS NULL AND k.pos IS NULL THEN
            enough := false;
            EXIT;
        END IF;
        tie := coalesce(p.pos >> 49 = l.rank, false);
        keyed := p.pos IS NULL OR (k.pos IS NOT NULL AND (p.pos >> 49 > l.rank OR (tie AND line_next)));
        IF keyed THEN c := k; ELSE c := p; END IF;
        -- The queue's limit, else the task's, else the key's: the first that holds it back is heard.
        wait := limit_wait(q, its_queue, q_running, t);
        IF wait <> 0 THEN
            IF wait > 0 THEN waits := least(waits, wait); END IF;
            enough := false;
            EXIT;
        END IF;
        at := NULL;
        FOR i IN 1..cardinality(task_limits) LOOP
            IF task_limits[i].number = c.task THEN at := i; END IF;
        END LOOP;
        IF at IS NOT NULL THEN
            tl := task_limits[at];
            wait := limit_wait(tl, tl.name, task_running[at], t);
            IF wait <> 0 THEN
                IF wait > 0 THEN waits := least(waits, wait); END IF;
                left_out := left_out || c.task;
                skipped := true;
                IF p.task = c.task THEN p_known := false; END IF;
                IF l.task = c.task THEN l_known := false; END IF;
                CONTINUE;
            END IF;
        END IF;
        kl := NULL;
        IF keyed AND has_key_limits THEN
            kl := record_of_key(l.key);
            wait := limit_wait(kl, l.key, running_of_key(kl, l.key), t);
            IF wait <> 0 THEN
                IF wait > 0 THEN waits := least(waits, wait); END IF;
                UPDATE lines x SET barred_at = t, barred_under = under, barred_until = CASE WHEN wait > 0 THEN t + wait END
                WHERE x.lane = its_lane AND x.task = l.task AND x.key = l.key AND x.rank = l.rank;
                l_known := false;
                CONTINUE;
            END IF;
        END IF;
        SELECT octet_length(b.payload) INTO size FROM bodies b WHERE b.id = c.id;
        IF size > w.bytes AND w.taken > 0 THEN
            w.bytes := 0;
            EXIT;
        END IF;
        w.bytes := w.bytes - size;
        PERFORM start_job(t, s, request, c.id);
        w.jobs := w.jobs || c.id;
        w.taken := w.taken + 1;
        IF tie THEN line_next := NOT line_next; END IF;
        IF q.scope IS NOT NULL THEN
            q_running := q_running + 1;
            PERFORM spend_token(q, its_queue, t);
        END IF;
        IF at IS NOT NULL THEN
            task_running[at] := task_running[at] + 1;
            PERFORM spend_token(tl, tl.name, t);
        END IF;
        IF kl.scope IS NOT NULL THEN PERFORM spend_token(kl, l.key, t); END IF;
        IF keyed THEN
            -- Behind all others; if that was its last job, the line is gone already.
            UPDATE lines x SET turn = nextval('sequences'), had_turn = true
            WHERE x.lane = its_lane AND x.task = l.task AND x.key = l.key AND x.rank = l.rank;
            l_rank := l.rank;
            l_turn := l.turn;
            l_known := false;
        ELSE
            p_behind := p.pos;
            p_known := false;
        END IF;
    END LOOP;
    IF line_next <> line_first THEN
        INSERT INTO turns VALUES (its_lane, line_next)
        ON CONFLICT (lane) DO UPDATE SET line_next = excluded.line_next;
    END IF;
    IF skipped THEN
        -- Those of tasks that are at their limits stand aside, so that no claim has to walk past them again.
        UPDATE jobs SET aside = true WHERE id IN (
            SELECT j.id FROM jobs j
            WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = its_lane AND j.task = ANY (left_out)
                AND (p.pos IS NULL OR j.pos < p.pos)
            ORDER BY j.pos LIMIT 2000 FOR NO KEY UPDATE SKIP LOCKED
        );
    END IF;
    IF NOT enough THEN
        SELECT least(waits, min(x.barred_until) - t) INTO waits FROM lines x
        WHERE x.barred_until IS NOT NULL AND x.lane = its_lane;
        w.retry_in := least(w.retry_in, waits);
    END IF;
    RETURN w;
END $$;

-- Takes the first suspect of a lane that may start.
CREATE FUNCTION walk_suspects(w walk, t bigint, s uuid, request bigint, its_lane bigint, its_queue text) RETURNS walk
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    c record;
    q limits;
    tl limits;
    kl limits;
    wait bigint;
    waits bigint;
BEGIN
    w.jobs := '{}';
    SELECT * INTO q FROM limits x WHERE x.scope = 0 AND x.name = its_queue;
    FOR c IN
        SELECT j.id, j.task, j.limit_key FROM jobs j
        WHERE j.state = 2 AND j.suspect AND j.lane = its_lane
            AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
        ORDER BY j.pos LIMIT 1000
    LOOP
        tl := NULL;
        kl := NULL;
        wait := limit_wait(q, its_queue, running_of_queue(q), t);
        IF wait = 0 THEN
            SELECT * INTO tl FROM limits x WHERE x.scope = 1 AND x.number = c.task;
            wait := limit_wait(tl, tl.name, running_of_task(tl), t);
        END IF;
        IF wait = 0 AND c.limit_key IS NOT NULL THEN
            kl := record_of_key(c.limit_key);
            wait := limit_wait(kl, c.limit_key, running_of_key(kl, c.limit_key), t);
        END IF;
        IF wait = 0 THEN
            PERFORM FROM jobs j WHERE j.id = c.id AND j.state + 0 = 2 FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            PERFORM start_job(t, s, request, c.id);
            PERFORM spend_token(q, its_queue, t);
            PERFORM spend_token(tl, tl.name, t);
            PERFORM spend_token(kl, c.limit_key, t);
            w.jobs := ARRAY[c.id];
            w.taken := 1;
            RETURN w;
        END IF;
        IF wait > 0 THEN waits := least(waits, wait); END IF;
    END LOOP;
    w.retry_in := least(w.retry_in, waits);
    RETURN w;
END $$;
