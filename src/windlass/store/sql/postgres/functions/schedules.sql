-- Schedules, and their steps from one fire time to the next. Whoever locks several locks them by name.

-- Per schedule: 0 stored, 1 changed by somebody else, 2 not after its last fire time, which comes along.
CREATE FUNCTION put_schedules(
    clock bigint, names text[], definitions bytea[], versions bigint[], nexts bigint[], pauses boolean[]
) RETURNS TABLE (place integer, answer integer, last bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    s schedules%ROWTYPE;
    there boolean;
    earliest bigint;
    first bigint;
BEGIN
    SELECT min(x.next) INTO first FROM schedules x WHERE x.next IS NOT NULL AND NOT x.paused AND x.deleted_at IS NULL;
    FOR place IN SELECT g.k FROM unnest(names) WITH ORDINALITY AS g (name, k) ORDER BY g.name COLLATE "C" LOOP
        INSERT INTO schedules (name, version, definition, paused, changed_at, deleted_at)
        VALUES (names[place], 0, '', false, t, t) ON CONFLICT DO NOTHING;
        SELECT * INTO s FROM schedules x WHERE x.name = names[place] FOR NO KEY UPDATE;
        there := s.deleted_at IS NULL;
        last := NULL;
        IF versions[place] <> (CASE WHEN there THEN s.version ELSE 0 END) THEN
            answer := CASE
                WHEN there AND s.definition = definitions[place] AND s.paused = pauses[place] THEN 0 ELSE 1
            END;
        ELSIF nexts[place] <= s.last THEN
            answer := 2;
            last := s.last;
        ELSE
            answer := 0;
            UPDATE schedules x SET version = s.version + 1, definition = definitions[place], paused = pauses[place],
                next = nexts[place], changed_at = t, deleted_at = NULL,
                fired = CASE WHEN there THEN s.fired ELSE 0 END,
                skipped = CASE WHEN there THEN s.skipped ELSE 0 END,
                last_job = CASE WHEN there THEN s.last_job END
            WHERE x.name = names[place];
            IF NOT pauses[place] THEN earliest := least(earliest, nexts[place]); END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    -- What was never there, and was not made, leaves nothing.
    DELETE FROM schedules x WHERE x.name = ANY (names) AND x.version = 0;
    IF earliest < first OR (first IS NULL AND earliest IS NOT NULL) THEN PERFORM tell('schedules', ''); END IF;
END $$;

CREATE FUNCTION delete_schedules(clock bigint, names text[]) RETURNS integer LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    deleted integer;
BEGIN
    PERFORM FROM schedules x WHERE x.name = ANY (names) ORDER BY x.name FOR NO KEY UPDATE;
    UPDATE schedules x SET deleted_at = t, definition = '', next = NULL
    WHERE x.name = ANY (names) AND x.deleted_at IS NULL;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END $$;

-- What is left of schedules that were deleted a week ago (windlass.core.schedules.KEEP_DELETED); whether there is more.
CREATE FUNCTION forget_schedules(t bigint, most integer) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM schedules x WHERE x.name = ANY (ARRAY(
        SELECT y.name FROM schedules y WHERE y.deleted_at IS NOT NULL AND y.deleted_at <= t - 604800000000
        ORDER BY y.deleted_at LIMIT most FOR UPDATE SKIP LOCKED
    ));
    RETURN EXISTS (SELECT FROM schedules y WHERE y.deleted_at IS NOT NULL AND y.deleted_at <= t - 604800000000);
END $$;

-- Firings, each wholly or not at all. Jobs of all are flat, in order: `firing_of` is the place of the firing in the call. The
-- answers of the firings come first, without a job: 0 fired, 1 stale; then those of the jobs of firings that are not.
CREATE FUNCTION fire(
    clock bigint, keep bigint, edges_most integer,
    names text[], versions bigint[], dues bigint[], lasts bigint[], nexts bigint[], skips integer[],
    firing_of integer[], plain boolean, ids uuid[], tasks text[], queues text[], requires text[], task_numbers bigint[],
    queue_numbers bigint[], lanes bigint[], ranks bigint[], payloads bytea[], options bytea[], limit_keys text[],
    job_dues bigint[], expiries bigint[], keys text[], untils smallint[], replaces boolean[], parent_of integer[],
    parent_ids uuid[], parent_policies smallint[]
) RETURNS TABLE (firing integer, job integer, answer integer, holder uuid) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    fresh integer[];
    ended uuid[] := '{}';
    stored integer[] := array_fill(0, ARRAY[cardinality(names)]);
    refused integer[] := stored;
    last_jobs uuid[] := array_fill(NULL::uuid, ARRAY[cardinality(names)]);
    parents uuid[];
    policies smallint[];
    one record;
BEGIN
    -- Locked by name, whatever the order of the call: so that no two wait for each other.
    WITH locked AS MATERIALIZED (
        SELECT x.name, x.version, x.next, x.paused, x.deleted_at FROM schedules x WHERE x.name = ANY (names)
        ORDER BY x.name FOR NO KEY UPDATE
    ) SELECT coalesce(array_agg(g.k::integer), '{}') INTO fresh
    FROM unnest(names, versions, dues) WITH ORDINALITY AS g (name, version, due, k) JOIN locked x ON x.name = g.name
    WHERE x.version = g.version AND x.next = g.due AND NOT x.paused AND x.deleted_at IS NULL AND g.due <= t;
    job := NULL;
    FOR i IN 1..cardinality(names) LOOP
        firing := i;
        answer := CASE WHEN i = ANY (fresh) THEN 0 ELSE 1 END;
        RETURN NEXT;
    END LOOP;
    IF plain AND cardinality(fresh) = cardinality(names) THEN
        PERFORM enqueue_plain(clock, t, fire.keep, true, true, ids, tasks, queues, fire.requires, task_numbers,
            queue_numbers, lanes, ranks, payloads, fire.options, limit_keys, job_dues, expiries);
        FOR i IN 1..cardinality(ids) LOOP
            stored[firing_of[i]] := stored[firing_of[i]] + 1;
            last_jobs[firing_of[i]] := ids[i];
        END LOOP;
    ELSE
        PERFORM lock_for_each(true, tasks, task_numbers, keys, parent_ids);
        FOR i IN 1..cardinality(ids) LOOP
            CONTINUE WHEN firing_of[i] <> ALL (fresh);
            SELECT array_agg(p.id ORDER BY p.k), array_agg(p.policy ORDER BY p.k) INTO parents, policies
            FROM unnest(parent_of, parent_ids, parent_policies) WITH ORDINALITY AS p (child, id, policy, k)
            WHERE p.child = i;
            SELECT e.ended, e.answer, e.holder INTO one FROM enqueue_one(
                t, fire.keep, true, true, ids[i], tasks[i], queues[i], requires[i], task_numbers[i], queue_numbers[i],
                lanes[i], ranks[i], payloads[i], options[i], limit_keys[i], job_dues[i], expiries[i], keys[i],
                untils[i], replaces[i], parents, policies, ended
            ) e;
            ended := one.ended;
            firing := firing_of[i];
            job := i;
            answer := one.answer;
            holder := one.holder;
            RETURN NEXT;
            IF answer = 0 THEN
                stored[firing] := stored[firing] + 1;
                last_jobs[firing] := ids[i];
            ELSE
                refused[firing] := refused[firing] + 1;
            END IF;
        END LOOP;
        PERFORM tell_ready(ids);
        PERFORM cascade(t, ended, edges_most, fire.keep, false, false);
        IF limit_keys IS NOT NULL THEN PERFORM open_lines(ids); END IF;
    END IF;
    UPDATE schedules x SET last = lasts[g.k], next = nexts[g.k], fired = x.fired + stored[g.k],
        skipped = x.skipped + skips[g.k] + refused[g.k], last_job = coalesce(last_jobs[g.k], x.last_job)
    FROM unnest(fresh) AS g (k) WHERE x.name = names[g.k];
END $$;
