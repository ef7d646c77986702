-- Storing jobs.

-- More than that ago first sent (windlass.core.model.STALE_AFTER): raised, so that nothing of the transaction stays.
CREATE FUNCTION check_age(t bigint, first_sent bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF first_sent < t - 240000000 THEN
        RAISE EXCEPTION 'first sent % s ago, too long to repeat it safely: look the jobs up by id',
            round((t - first_sent) / 1000000.0) USING ERRCODE = 'WL001';
    END IF;
END $$;

-- Jobs without unique keys and parents, in one go. `due` is a delay where it is negative: microseconds from now, with the
-- sign turned; so is `expiry` where it is not positive.
-- Whoever sends an id for the second time waits here for whoever sent it first, and then stores nothing.
CREATE FUNCTION enqueue_plain(
    clock bigint, first_sent bigint, keep bigint, told boolean, own boolean,
    ids uuid[], tasks text[], queues text[], requires text[], task_numbers bigint[], queue_numbers bigint[], lanes bigint[],
    ranks bigint[], payloads bytea[], options bytea[], limit_keys text[], dues bigint[], expiries bigint[]
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    fresh uuid[];
    expired uuid[];
BEGIN
    PERFORM check_age(t, first_sent);
    BEGIN
        INSERT INTO bodies (id, enqueued_at, task, queue, requires, limit_key, options, payload)
        SELECT g.id, t, g.task, g.queue, g.requires, g.limit_key, g.options, g.payload
        FROM unnest(ids, tasks, queues, enqueue_plain.requires, limit_keys, enqueue_plain.options, payloads)
            AS g (id, task, queue, requires, limit_key, options, payload);
    EXCEPTION WHEN unique_violation THEN
        -- Some are stored already. (ON CONFLICT from the start would cost all others a third.)
        WITH stored AS (
            INSERT INTO bodies (id, enqueued_at, task, queue, requires, limit_key, options, payload)
            SELECT g.id, t, g.task, g.queue, g.requires, g.limit_key, g.options, g.payload
            FROM unnest(ids, tasks, queues, enqueue_plain.requires, limit_keys, enqueue_plain.options, payloads)
                AS g (id, task, queue, requires, limit_key, options, payload)
            ON CONFLICT DO NOTHING RETURNING id
        ) SELECT coalesce(array_agg(x.id), '{}') INTO fresh FROM stored x;
    END;
    INSERT INTO jobs (n, pos, lane, queue, task, id, state, aside, lined, limit_key, due_at, expires_at)
    SELECT s.n, s.rank << 49 | CASE WHEN s.due > t THEN 0 ELSE s.n END, s.lane, s.queue, s.task, s.id,
        CASE WHEN s.due > t THEN 1 ELSE 2 END, s.limit_key IS NOT NULL, own OR s.limit_key IS NULL, s.limit_key, s.due,
        s.expiry
    FROM (
        SELECT nextval('sequences') AS n, g.id, g.lane, g.queue, g.task, g.rank, g.limit_key,
            CASE WHEN g.due < 0 THEN t - g.due ELSE g.due END AS due,
            CASE WHEN g.expiry <= 0 THEN t - g.expiry ELSE g.expiry END AS expiry
        FROM unnest(ids, lanes, queue_numbers, task_numbers, ranks, limit_keys, dues, expiries) WITH ORDINALITY
            AS g (id, lane, queue, task, rank, limit_key, due, expiry, k)
        WHERE fresh IS NULL OR (g.id = ANY (fresh) AND g.k = array_position(ids, g.id))  -- an id may come twice
        OFFSET 0
    ) s;
    IF expiries IS NOT NULL THEN
        expired := ARRAY(
            SELECT j.id FROM unnest(ids) AS g (id) JOIN jobs j ON j.id = g.id
            WHERE j.attempt = 0 AND j.state < 3 AND j.expires_at <= t AND (fresh IS NULL OR j.id = ANY (fresh))
        );
        PERFORM finish(t, expired, 6::smallint, 2::smallint, enqueue_plain.keep);
    END IF;
    IF dues IS NOT NULL AND EXISTS (SELECT FROM unnest(dues) AS g (due) WHERE g.due < 0 OR g.due > t) THEN
        PERFORM tell_scheduled(min(CASE WHEN g.due < 0 THEN t - g.due ELSE g.due END))
        FROM unnest(dues) AS g (due) WHERE g.due < 0 OR g.due > t;
    END IF;
    IF told AND pg_relation_size('idle'::regclass) = 0 THEN
        PERFORM tell('ready', g.queue) FROM (SELECT DISTINCT q.queue FROM unnest(queues) AS q (queue)) g;
    ELSIF told THEN
        PERFORM tell_lane(g.lane, g.queue, g.jobs) FROM (
            SELECT x.lane, x.queue, count(*) AS jobs FROM unnest(lanes, queues, dues) AS x (lane, queue, due)
            WHERE x.due IS NULL OR x.due BETWEEN 0 AND t GROUP BY x.lane, x.queue
        ) g;
    END IF;
    IF own AND limit_keys IS NOT NULL THEN PERFORM open_lines(coalesce(fresh, ids)); END IF;
END $$;

-- How each of `parents` ended, if it has; NULL for one that the store does not have. The rows found are locked: their jobs
-- neither finish nor are replayed nor purged before this transaction ends. `others` that are unfinished are locked too, to be
-- changed, and so are those of `ended` that have finished, to be replayed.
--
-- All or none of them: who has some never waits for another, so that those who end jobs, and then look for their dependants,
-- may wait for him. What somebody else has is waited for with nothing in hand. (FOR KEY SHARE would do for a parent, but waits,
-- SKIP LOCKED or not, for whoever locks a row version that was made meanwhile.)
CREATE FUNCTION hold_jobs(
    parents uuid[], others uuid[], ended uuid[], OUT held uuid[], OUT states smallint[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    wanted uuid[];
    more_ids uuid[];
    more_states smallint[];
    busy uuid;
BEGIN
    FOR try IN 1..100 LOOP
        held := '{}';
        states := '{}';
        BEGIN
            wanted := ARRAY(SELECT DISTINCT unnest(parents));
            WITH found AS MATERIALIZED (
                SELECT j.id, j.state FROM jobs j WHERE j.id = ANY (wanted) AND NOT j.linked FOR NO KEY UPDATE SKIP LOCKED
            ) SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.state), '{}') INTO held, states FROM found f;
            IF cardinality(held) > 0 THEN
                UPDATE jobs SET linked = true WHERE id = ANY (held);
                wanted := ARRAY(SELECT unnest(wanted) EXCEPT SELECT unnest(held));
            END IF;
            IF cardinality(wanted) > 0 THEN
                WITH found AS MATERIALIZED (
                    SELECT j.id, j.state FROM jobs j WHERE j.id = ANY (wanted) AND j.linked FOR SHARE SKIP LOCKED
                ) SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.state), '{}') INTO more_ids, more_states
                FROM found f;
                held := held || more_ids;
                states := states || more_states;
                wanted := ARRAY(SELECT unnest(wanted) EXCEPT SELECT unnest(more_ids));
            END IF;
            IF cardinality(wanted) > 0 THEN
                WITH found AS MATERIALIZED (
                    SELECT d.id, d.state FROM done d WHERE d.id = ANY (wanted) FOR NO KEY UPDATE SKIP LOCKED
                ) SELECT coalesce(array_agg(f.id), '{}'), coalesce(array_agg(f.state), '{}') INTO more_ids, more_states
                FROM found f;
                held := held || more_ids;
                states := states || more_states;
                wanted := ARRAY(SELECT unnest(wanted) EXCEPT SELECT unnest(more_ids));
            END IF;
            busy := (SELECT min(b.id::text)::uuid FROM bodies b WHERE b.id = ANY (wanted));
            IF busy IS NULL AND cardinality(others) > 0 THEN
                more_ids := ARRAY(SELECT j.id FROM jobs j WHERE j.id = ANY (others) FOR UPDATE SKIP LOCKED);
                busy := (SELECT min(j.id::text)::uuid FROM jobs j WHERE j.id = ANY (others) AND j.id <> ALL (more_ids));
            END IF;
            IF busy IS NULL AND cardinality(ended) > 0 THEN
                more_ids := ARRAY(SELECT d.id FROM done d WHERE d.id = ANY (ended) FOR UPDATE SKIP LOCKED);
                busy := (SELECT min(d.id::text)::uuid FROM done d WHERE d.id = ANY (ended) AND d.id <> ALL (more_ids));
            END IF;
            IF busy IS NULL THEN RETURN; END IF;
            RAISE EXCEPTION 'job % is another''s', busy USING ERRCODE = 'WL002';
        EXCEPTION WHEN SQLSTATE 'WL002' THEN NULL;
        END;
        BEGIN
            PERFORM FROM jobs WHERE id = busy FOR UPDATE;
            PERFORM FROM done WHERE id = busy FOR UPDATE;
            RAISE EXCEPTION 'job % is free', busy USING ERRCODE = 'WL002';
        EXCEPTION WHEN SQLSTATE 'WL002' THEN NULL;
        END;
    END LOOP;
    RAISE EXCEPTION 'job % is changed over and over', busy USING ERRCODE = 'serialization_failure';
END $$;

CREATE FUNCTION hold_parents(ids uuid[], OUT held uuid[], OUT states smallint[]) LANGUAGE plpgsql AS $$
BEGIN
    SELECT h.held, h.states INTO held, states FROM hold_jobs(ids, '{}', '{}') h;
END $$;

-- Stores edges to one dependant, in order, as its parents stand. A parent is kept for it unless it has finished itself.
CREATE FUNCTION add_edges(
    dependant uuid, parents uuid[], policies smallint[], held uuid[], states smallint[], finished boolean
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO edges (parent, child, n, policy, outcome, closed)
    SELECT p.id, dependant, nextval('sequences'), p.policy,
        CASE WHEN states[array_position(held, p.id)] > 3 THEN states[array_position(held, p.id)] END, finished
    FROM unnest(parents, policies) AS p (id, policy)
    ON CONFLICT DO NOTHING;
    UPDATE jobs SET linked = true WHERE id = ANY (parents) AND NOT linked;
    -- Retention starts when the last dependant has finished, so that a finished parent leaves the purge index.
    UPDATE done SET linked = true, keep = coalesce(keep, purge_at - finished_at),
        purge_at = CASE WHEN finished THEN purge_at END
    WHERE id = ANY (parents) AND (NOT linked OR NOT finished);
END $$;

-- One job that may have more to it: a unique key, parents. Answers 0 stored, 1 duplicate (of `holder`), 2 unknown parent,
-- 3 busy: another transaction, which has not ended, holds the lock on its unique key (`patient`: wait for it instead).
-- Nothing is written before all that may refuse the job has been looked at. Jobs that it finished are appended to `ended`.
-- The caller tells of those that are ready, of all together; puts those with limit keys into their lines, when it has all
-- other locks; and has called `lock_for_each`.
CREATE FUNCTION enqueue_one(
    t bigint, keep bigint, patient boolean, own boolean, new_id uuid, new_task text, new_queue text, new_requires text,
    task_number bigint, queue_number bigint, lane_number bigint, rank bigint, payload bytea, options bytea,
    new_limit_key text, due bigint, expiry bigint, new_key text, until smallint, replaces boolean, parents uuid[],
    policies smallint[], INOUT ended uuid[], OUT answer integer, OUT holder uuid
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held uuid[];
    states smallint[];
    h record;
    first_state smallint := 2;
    why smallint := 0;
    says integer;
    stored integer;
    number bigint;
BEGIN
    answer := 0;
    IF EXISTS (SELECT FROM bodies WHERE id = new_id) THEN RETURN; END IF;
    IF cardinality(parents) > 0 THEN
        SELECT f.held, f.states INTO held, states FROM hold_parents(parents) f;
        IF NOT parents <@ held THEN answer := 2; RETURN; END IF;
    END IF;
    IF new_key IS NOT NULL THEN
        IF patient THEN
            PERFORM pg_advisory_xact_lock(lock_number('key/' || new_task || '/' || new_key));
        ELSIF NOT pg_try_advisory_xact_lock(lock_number('key/' || new_task || '/' || new_key)) THEN
            answer := 3;
            RETURN;
        END IF;
        SELECT j.id, j.state INTO h FROM jobs j WHERE j.task = task_number AND j.key = new_key FOR UPDATE;
        IF FOUND THEN
            IF NOT coalesce(replaces, false) OR h.state = 3 THEN
                answer := 1;
                holder := h.id;
                RETURN;
            END IF;
            ended := ended || finish(t, ARRAY[h.id], 6::smallint, 4::smallint, enqueue_one.keep);
            IF h.id = ANY (parents) THEN
                states[array_position(held, h.id)] := 6;
            END IF;
        END IF;
    END IF;
    due := CASE WHEN due < 0 THEN t - due ELSE due END;
    expiry := CASE WHEN expiry <= 0 THEN t - expiry ELSE expiry END;
    number := nextval('sequences');
    INSERT INTO bodies (id, enqueued_at, task, queue, requires, limit_key, unique_key, unique_until, options, payload)
    VALUES (new_id, t, new_task, new_queue, new_requires, new_limit_key, new_key, until, enqueue_one.options,
        enqueue_one.payload)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS stored = ROW_COUNT;
    IF stored = 0 THEN RETURN; END IF;
    -- Of two edges to the same parent, the first counts.
    IF cardinality(parents) > 0 THEN
        PERFORM add_edges(new_id, parents, policies, held, states, false);
        says := verdict(new_id);
        first_state := CASE says WHEN 0 THEN 0 WHEN 1 THEN 2 ELSE 6 END;
        why := CASE WHEN says = 2 THEN 3 ELSE 0 END;
    END IF;
    IF first_state <> 6 AND expiry <= t THEN
        first_state := 6;
        why := 2;
    END IF;
    IF first_state = 2 AND due > t THEN first_state := 1; END IF;
    INSERT INTO jobs (n, pos, lane, queue, task, id, state, aside, lined, linked, key, limit_key, due_at, expires_at)
    VALUES (
        number, rank << 49 | CASE WHEN first_state = 2 THEN number ELSE 0 END, lane_number, queue_number, task_number, new_id,
        least(first_state, 3), new_limit_key IS NOT NULL, own OR new_limit_key IS NULL, coalesce(cardinality(parents) > 0, false), new_key,
        new_limit_key, due, expiry
    );
    IF first_state = 6 THEN
        ended := ended || finish(t, ARRAY[new_id], 6::smallint, why, enqueue_one.keep);
    ELSIF first_state = 1 THEN
        PERFORM tell_scheduled(due);
    END IF;
    -- A parent that is ready was locked for a moment, in which a claim may have passed over it.
    IF cardinality(parents) > 0 THEN
        PERFORM tell_ready(ARRAY(SELECT p.id FROM unnest(held, states) AS p (id, state) WHERE p.state = 2));
    END IF;
END $$;

-- The locks that storing jobs one by one takes, all at once: unique keys that are waited for, before all rows; then parents, and
-- those who hold the keys.
CREATE FUNCTION lock_for_each(patient boolean, tasks text[], task_numbers bigint[], keys text[], parents uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    holders uuid[] := '{}';
BEGIN
    IF keys IS NOT NULL THEN
        IF patient THEN
            PERFORM pg_advisory_xact_lock(n.number) FROM (
                SELECT DISTINCT lock_number('key/' || g.task || '/' || g.key) AS number
                FROM unnest(tasks, keys) AS g (task, key) WHERE g.key IS NOT NULL ORDER BY 1 OFFSET 0
            ) n;
        END IF;
        holders := ARRAY(
            SELECT j.id FROM unnest(task_numbers, keys) AS g (task, key)
                CROSS JOIN LATERAL (SELECT x.id FROM jobs x WHERE x.task = g.task AND x.key = g.key OFFSET 0) j
            WHERE g.key IS NOT NULL
        );
    END IF;
    IF cardinality(holders) > 0 OR cardinality(parents) > 0 THEN PERFORM hold_jobs(parents, holders, '{}'); END IF;
END $$;

-- Jobs without unique keys, of which some have parents that have not finished, in one go. `parent_at` is the place in the call
-- of a parent that comes in it, before its dependant; `linked`: 2 has parents, 1 is only a parent of others in the call.
-- Answers false, having stored nothing, where they have to be stored one by one: some are stored already, or wait for what
-- has finished, or is not there.
CREATE FUNCTION enqueue_linked(
    clock bigint, first_sent bigint, keep bigint, edges_most integer,
    ids uuid[], tasks text[], queues text[], requires text[], task_numbers bigint[], queue_numbers bigint[], lanes bigint[],
    ranks bigint[], payloads bytea[], options bytea[], limit_keys text[], dues bigint[], expiries bigint[],
    linked smallint[], parent_of integer[], parent_ids uuid[], parent_policies smallint[], parent_at integer[]
) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    outside uuid[];
    held uuid[];
    states smallint[];
    fresh uuid[];
    earliest bigint;
    expired uuid[];
BEGIN
    PERFORM check_age(t, first_sent);
    IF EXISTS (SELECT FROM bodies WHERE id = ANY (ids)) THEN RETURN false; END IF;
    outside := ARRAY(SELECT DISTINCT p.id FROM unnest(parent_ids, parent_at) AS p (id, at) WHERE p.at IS NULL);
    SELECT f.held, f.states INTO held, states FROM hold_parents(outside) f;
    IF NOT outside <@ held OR 3 < ANY (states) THEN RETURN false; END IF;
    BEGIN
        INSERT INTO bodies (id, enqueued_at, task, queue, requires, limit_key, options, payload)
        SELECT g.id, t, g.task, g.queue, g.requires, g.limit_key, g.options, g.payload
        FROM unnest(ids, tasks, queues, enqueue_linked.requires, limit_keys, enqueue_linked.options, payloads)
            AS g (id, task, queue, requires, limit_key, options, payload);
    EXCEPTION WHEN unique_violation THEN
        RETURN false;
    END;
    -- Of two edges to the same parent, the first counts.
    INSERT INTO edges (parent, child, n, policy)
    SELECT p.id, ids[p.child], nextval('sequences'), p.policy
    FROM unnest(parent_of, parent_ids, parent_policies) AS p (child, id, policy)
    ON CONFLICT DO NOTHING;
    WITH stored AS (
        INSERT INTO jobs (n, pos, lane, queue, task, id, state, aside, linked, limit_key, due_at, expires_at)
        SELECT s.n, s.rank << 49 | CASE WHEN s.state = 2 THEN s.n ELSE 0 END, s.lane, s.queue, s.task, s.id, s.state,
            s.limit_key IS NOT NULL, s.linked > 0, s.limit_key, s.due, s.expiry
        FROM (
            SELECT d.*, CASE WHEN d.linked = 2 THEN 0 WHEN d.due > t THEN 1 ELSE 2 END AS state
            FROM (
                SELECT nextval('sequences') AS n, g.id, g.lane, g.queue, g.task, g.rank, g.limit_key, g.linked,
                    CASE WHEN g.due < 0 THEN t - g.due ELSE g.due END AS due,
                    CASE WHEN g.expiry <= 0 THEN t - g.expiry ELSE g.expiry END AS expiry
                FROM unnest(ids, lanes, queue_numbers, task_numbers, ranks, limit_keys, dues, expiries, enqueue_linked.linked)
                    AS g (id, lane, queue, task, rank, limit_key, due, expiry, linked)
                OFFSET 0
            ) d
        ) s
        RETURNING id, state, due_at, expires_at
    )
    SELECT array_agg(x.id) FILTER (WHERE x.state = 2), min(x.due_at) FILTER (WHERE x.state = 1),
        array_agg(x.id) FILTER (WHERE x.expires_at <= t)
    INTO fresh, earliest, expired FROM stored x;
    IF expired IS NOT NULL THEN
        PERFORM cascade(
            t, finish(t, expired, 6::smallint, 2::smallint, enqueue_linked.keep), edges_most, enqueue_linked.keep, false, false
        );
    END IF;
    IF earliest IS NOT NULL THEN PERFORM tell_scheduled(earliest); END IF;
    -- A parent that is ready was locked for a moment, in which a claim may have passed over it.
    fresh := fresh || ARRAY(SELECT p.id FROM unnest(held, states) AS p (id, state) WHERE p.state = 2);
    IF cardinality(fresh) > 0 THEN PERFORM tell_ready(fresh); END IF;
    IF limit_keys IS NOT NULL AND cardinality(fresh) > 0 THEN PERFORM open_lines(fresh); END IF;
    RETURN true;
END $$;

-- Jobs one by one, in order. Parents of all are flat: `parent_of` is the place of the dependant in the call.
CREATE FUNCTION enqueue_each(
    clock bigint, first_sent bigint, keep bigint, edges_most integer, patient boolean, own boolean,
    ids uuid[], tasks text[], queues text[], requires text[], task_numbers bigint[], queue_numbers bigint[], lanes bigint[],
    ranks bigint[], payloads bytea[], options bytea[], limit_keys text[], dues bigint[], expiries bigint[],
    keys text[], untils smallint[], replaces boolean[], parent_of integer[], parent_ids uuid[], parent_policies smallint[]
) RETURNS TABLE (answer integer, holder uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    ended uuid[] := '{}';
    parents uuid[];
    policies smallint[];
    one record;
BEGIN
    PERFORM check_age(t, first_sent);
    PERFORM lock_for_each(patient, tasks, task_numbers, keys, parent_ids);
    FOR i IN 1..cardinality(ids) LOOP
        SELECT array_agg(p.id ORDER BY p.k), array_agg(p.policy ORDER BY p.k) INTO parents, policies
        FROM unnest(parent_of, parent_ids, parent_policies) WITH ORDINALITY AS p (child, id, policy, k) WHERE p.child = i;
        SELECT e.ended, e.answer, e.holder INTO one FROM enqueue_one(
            t, enqueue_each.keep, patient, own, ids[i], tasks[i], queues[i], requires[i], task_numbers[i], queue_numbers[i],
            lanes[i], ranks[i], payloads[i], options[i], limit_keys[i], dues[i], expiries[i], keys[i], untils[i],
            replaces[i], parents, policies, ended
        ) e;
        ended := one.ended;
        answer := one.answer;
        holder := one.holder;
        RETURN NEXT;
    END LOOP;
    PERFORM tell_ready(ids);
    PERFORM cascade(t, ended, edges_most, enqueue_each.keep, false, false);
    IF own AND limit_keys IS NOT NULL THEN PERFORM open_lines(ids); END IF;
END $$;

-- Edges to stored jobs, in order: 0 added, 1 unknown parent, 2 not waiting.
CREATE FUNCTION enqueue_edges(
    clock bigint, first_sent bigint, keep bigint, edges_most integer,
    parents uuid[], dependants uuid[], policies smallint[]
) RETURNS SETOF integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    ended uuid[] := '{}';
    held uuid[];
    states smallint[];
    child jobs%ROWTYPE;
    found_it boolean;
    answers integer[];
BEGIN
    PERFORM check_age(t, first_sent);
    SELECT f.held, f.states INTO held, states FROM hold_jobs(parents, dependants, '{}') f;
    IF parents <@ held AND NOT 3 < ANY (states) THEN
        -- Edges to parents that are unfinished let nobody go, and cancel nobody: they are added in one go.
        WITH wanted AS MATERIALIZED (
            SELECT g.k, g.parent, g.child, g.policy, coalesce(j.state + 0 = 0, false) AS waits
            FROM unnest(parents, dependants, policies) WITH ORDINALITY AS g (parent, child, policy, k)
                LEFT JOIN LATERAL (SELECT x.state FROM jobs x WHERE x.id = g.child OFFSET 0) j ON true
            ORDER BY g.k
        ), added AS (
            INSERT INTO edges (parent, child, n, policy)
            SELECT w.parent, w.child, nextval('sequences'), w.policy FROM wanted w WHERE w.waits
            ON CONFLICT DO NOTHING
        )
        SELECT array_agg(CASE WHEN w.waits OR EXISTS (
            SELECT FROM edges e JOIN bodies b ON b.id = e.child WHERE e.parent = w.parent AND e.child = w.child OFFSET 0
        ) THEN 0 ELSE 2 END ORDER BY w.k) INTO answers FROM wanted w;
        -- A parent that is ready was locked for a moment, in which a claim may have passed over it.
        PERFORM tell_ready(ARRAY(SELECT p.id FROM unnest(held, states) AS p (id, state) WHERE p.state = 2));
        RETURN QUERY SELECT unnest(answers);
        RETURN;
    END IF;
    FOR i IN 1..cardinality(parents) LOOP
        SELECT * INTO child FROM jobs WHERE id = dependants[i];
        found_it := FOUND;
        IF EXISTS (SELECT FROM edges WHERE parent = parents[i] AND child = dependants[i])
            AND EXISTS (SELECT FROM bodies WHERE id = dependants[i])
        THEN
            RETURN NEXT 0;
            CONTINUE;
        END IF;
        IF NOT found_it OR child.state <> 0 THEN
            RETURN NEXT 2;
            CONTINUE;
        END IF;
        SELECT f.held, f.states INTO held, states FROM hold_parents(parents[i:i]) f;
        IF cardinality(held) = 0 THEN
            RETURN NEXT 1;
            CONTINUE;
        END IF;
        PERFORM add_edges(dependants[i], parents[i:i], policies[i:i], held, states, false);
        IF states[1] > 3 AND judge(t, dependants[i], enqueue_edges.keep) THEN ended := ended || dependants[i]; END IF;
        RETURN NEXT 0;
    END LOOP;
    PERFORM cascade(t, ended, edges_most, enqueue_edges.keep, false, false);
END $$;
