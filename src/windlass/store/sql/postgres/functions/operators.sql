-- What people do to jobs.

-- Locks those of these jobs that are unfinished, all at once. Those that are neither unfinished nor finished although they are
-- stored were replayed, or finished, just now, and are looked for again.
CREATE FUNCTION lock_jobs(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    FOR try IN 1..10 LOOP
        PERFORM hold_jobs('{}', ids, '{}');
        EXIT WHEN NOT EXISTS (
            SELECT FROM bodies b WHERE b.id = ANY (ids)
                AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = b.id) AND NOT EXISTS (SELECT FROM done d WHERE d.id = b.id)
        );
    END LOOP;
END $$;

CREATE FUNCTION cancel(clock bigint, ids uuid[], keep bigint, edges_most integer) RETURNS SETOF integer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    ended uuid[] := '{}';
    j record;
BEGIN
    PERFORM lock_jobs(ids);
    FOR i IN 1..cardinality(ids) LOOP
        SELECT x.id, x.state, x.session, x.cancel_requested INTO j FROM jobs x WHERE x.id = ids[i] FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NEXT CASE WHEN EXISTS (SELECT FROM done d WHERE d.id = ids[i]) THEN 2 ELSE 3 END;
        ELSIF j.state = 3 THEN
            IF NOT j.cancel_requested THEN
                UPDATE jobs SET cancel_requested = true WHERE id = j.id;
                PERFORM tell('session', replace(j.session::text, '-', ''));
            END IF;
            RETURN NEXT 1;
        ELSE
            ended := ended || finish(t, ARRAY[j.id], 6::smallint, 1::smallint, cancel.keep);
            RETURN NEXT 0;
        END IF;
    END LOOP;
    PERFORM cascade(t, ended, edges_most, cancel.keep, false, false);
END $$;

CREATE FUNCTION replay(ids uuid[]) RETURNS SETOF integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    parents uuid[];
BEGIN
    parents := ARRAY(SELECT e.parent FROM edges e WHERE e.child = ANY (ids) AND e.policy >= 0);
    -- Unique keys, then the cursor, then rows, all of them at once: see docs/decisions/0025.
    PERFORM pg_advisory_xact_lock(n.number) FROM (
        SELECT DISTINCT lock_number('key/' || b.task || '/' || b.unique_key) AS number
        FROM bodies b JOIN done d ON d.id = b.id WHERE b.id = ANY (ids) AND b.unique_key IS NOT NULL AND d.state > 4
        ORDER BY 1 OFFSET 0
    ) n;
    PERFORM FROM releases WHERE job = ANY (ids) ORDER BY job FOR UPDATE;
    PERFORM hold_jobs(
        parents, ARRAY(
            SELECT j.id FROM jobs j
            WHERE j.id = ANY (ARRAY(SELECT e.child FROM edges e WHERE e.parent = ANY (ids) AND NOT e.closed))
                AND j.state + 0 = 0
        ), ids || parents
    );
    FOR i IN 1..cardinality(ids) LOOP
        RETURN NEXT replay_one(ids[i]);
    END LOOP;
    PERFORM tell_ready(ids);
    PERFORM open_lines(ids) WHERE EXISTS (SELECT FROM jobs j WHERE j.id = ANY (ids) AND j.limit_key IS NOT NULL);
END $$;

CREATE FUNCTION replay_one(job_id uuid) RETURNS integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    d done%ROWTYPE;
    b bodies%ROWTYPE;
    its_key text;
    waits boolean := false;
BEGIN
    SELECT * INTO d FROM done WHERE id = job_id FOR UPDATE;
    IF NOT FOUND THEN RETURN CASE WHEN EXISTS (SELECT FROM bodies WHERE id = job_id) THEN 1 ELSE 3 END; END IF;
    IF d.state = 4 THEN RETURN 1; END IF;
    SELECT * INTO b FROM bodies WHERE id = job_id;
    -- A key that was held until the start is given up for good.
    IF b.unique_key IS NOT NULL AND NOT (b.unique_until = 2 AND d.token > 0) THEN
        its_key := b.unique_key;
        PERFORM pg_advisory_xact_lock(lock_number('key/' || b.task || '/' || its_key));
        IF EXISTS (SELECT FROM jobs WHERE task = d.task AND key = its_key) THEN RETURN 2; END IF;
    END IF;
    IF d.linked THEN waits := rearm(job_id); END IF;
    DELETE FROM done WHERE id = job_id;
    DELETE FROM notes WHERE job = job_id;
    INSERT INTO jobs (
        n, pos, lane, queue, task, id, session, token, attempt, state, settled, linked, aside, key, limit_key, request,
        started_at
    ) VALUES (
        d.n, CASE WHEN waits THEN d.pos >> 49 << 49 ELSE next_pos(d.pos) END, d.lane, d.queue, d.task, d.id, d.session,
        d.token, d.attempt, CASE WHEN waits THEN 0 ELSE 2 END, d.settled, d.linked, b.limit_key IS NOT NULL, its_key,
        b.limit_key, 0, d.started_at
    );
    RETURN 0;
END $$;

-- Arms a job's edges anew, on both sides; answers whether it has to wait for a parent.
CREATE FUNCTION rearm(job_id uuid) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    parents uuid[] := ARRAY(SELECT parent FROM edges WHERE child = job_id AND policy >= 0);
    kids uuid[];
    kid uuid;
    held uuid[];
BEGIN
    DELETE FROM releases WHERE job = job_id;
    -- Parents before dependants, as whoever ends a job locks them.
    IF cardinality(parents) > 0 THEN held := (SELECT f.held FROM hold_parents(parents) f); END IF;
    WITH waiting AS MATERIALIZED (
        SELECT j.id FROM jobs j
        WHERE j.id = ANY (ARRAY(SELECT e.child FROM edges e WHERE e.parent = job_id AND NOT e.closed)) AND j.state + 0 = 0
        ORDER BY j.id FOR NO KEY UPDATE
    ) SELECT coalesce(array_agg(w.id), '{}') INTO kids FROM waiting w;
    -- One by one, here and below: a join of all would be planned for a few, and take the square of their number.
    FOR kid IN
        SELECT x.child FROM edges x WHERE x.parent = job_id AND x.outcome IS NOT NULL AND x.child = ANY (kids) ORDER BY x.n
    LOOP
        UPDATE edges SET outcome = NULL, n = nextval('sequences') WHERE parent = job_id AND child = kid;
    END LOOP;
    IF cardinality(parents) = 0 THEN RETURN false; END IF;
    -- As the parents stand now; one that its parent's end does not satisfy (policy 0: it must succeed) waits for another end
    -- of it, a replay. One whose parent is gone keeps the mark that it had.
    UPDATE edges e SET closed = false, n = nextval('sequences'), outcome = (
        SELECT CASE WHEN d.state = 4 OR e.policy > 0 THEN d.state END FROM done d WHERE d.id = e.parent
    ) WHERE e.child = job_id AND e.policy >= 0
        AND (EXISTS (SELECT FROM jobs j WHERE j.id = e.parent OFFSET 0)
            OR EXISTS (SELECT FROM done d WHERE d.id = e.parent OFFSET 0));
    UPDATE done SET keep = coalesce(keep, purge_at - finished_at), purge_at = NULL
    WHERE id = ANY (held) AND purge_at IS NOT NULL;
    RETURN EXISTS (SELECT FROM edges WHERE child = job_id AND policy >= 0 AND coalesce(outcome, 0) = 0) AND verdict(job_id) <> 1;
END $$;

CREATE FUNCTION skip(clock bigint, job_id uuid, given bytea, keep bigint, edges_most integer) RETURNS integer
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    its_state smallint;
BEGIN
    PERFORM lock_jobs(ARRAY[job_id]);
    SELECT state INTO its_state FROM jobs WHERE id = job_id FOR UPDATE;
    IF NOT FOUND THEN RETURN CASE WHEN EXISTS (SELECT FROM done WHERE id = job_id) THEN 1 ELSE 2 END; END IF;
    IF its_state = 3 THEN RETURN 1; END IF;
    PERFORM cascade(
        t, finish(t, ARRAY[job_id], 4::smallint, 6::smallint, skip.keep, given), edges_most, skip.keep, false, false
    );
    RETURN 0;
END $$;

CREATE FUNCTION reschedule(clock bigint, ids uuid[], at bigint) RETURNS uuid[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    due bigint := greatest(at, instant(clock));
    part uuid[];
BEGIN
    part := ARRAY(SELECT j.id FROM jobs j WHERE j.id = ANY (ids) AND j.state + 0 = 1 ORDER BY j.id FOR NO KEY UPDATE);
    UPDATE jobs j SET due_at = due FROM unnest(part) AS p (id) WHERE j.id = p.id;
    IF cardinality(part) > 0 THEN PERFORM tell_scheduled(due); END IF;
    RETURN part;
END $$;

CREATE FUNCTION delete_jobs(clock bigint, ids uuid[], at_least bigint) RETURNS integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    part uuid[];
BEGIN
    PERFORM hold_jobs('{}', '{}', ids);
    part := ARRAY(
        SELECT d.id FROM done d WHERE d.id = ANY (ids) AND d.finished_at + at_least <= instant(clock)
            AND NOT EXISTS (SELECT FROM edges e WHERE e.parent = d.id AND NOT e.closed OFFSET 0)
            AND NOT EXISTS (SELECT FROM releases r WHERE r.job = d.id OFFSET 0)
    );
    PERFORM remove_jobs(instant(clock), part);
    RETURN cardinality(part);
END $$;

-- Sets the limits of a record, or whether it is paused: what is not said (the first, or the second) stays as it is.
CREATE FUNCTION put_limit(
    its_scope smallint, its_name text, its_number bigint, pauses boolean, its_concurrency integer, its_count bigint,
    its_per bigint, its_burst bigint
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- No claim is under way that has not seen the record as it was, and none that has counts while it changes.
    PERFORM pg_advisory_xact_lock(lock_number('records'));
    PERFORM lock_limits();
    IF pauses IS NULL THEN
        INSERT INTO limits VALUES (
            its_scope, its_name, its_number, false, its_concurrency, its_count, its_per, its_burst
        ) ON CONFLICT (scope, name) DO UPDATE SET
            concurrency = excluded.concurrency, rate_count = excluded.rate_count, rate_per = excluded.rate_per,
            rate_burst = excluded.rate_burst;
    ELSE
        INSERT INTO limits VALUES (its_scope, its_name, its_number, pauses)
        ON CONFLICT (scope, name) DO UPDATE SET paused = excluded.paused;
    END IF;
    DELETE FROM limits
    WHERE scope = its_scope AND name = its_name AND NOT paused AND concurrency IS NULL AND rate_count IS NULL;
    UPDATE meta SET limits_version = limits_version + 1;
    PERFORM tell('limits', '');
    PERFORM tell('ready', '*');
END $$;
