-- Storing jobs inside a transaction of somebody else's: from Python through his own connection (`enqueue_in`), and from any
-- other language (`enqueue`). Both wait for whoever holds a unique key; what is raised here ends that transaction.
--
-- He may leave it open for long. So it takes no lock that others need: lines of limit keys are left as they are
-- (`beside_lines`), and edges to the cursor.

CREATE FUNCTION beside_lines() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('windlass.beside_lines', 'on', true);
END $$;

-- Jobs as a JSON array, answers as another: [status, holder] for each (see `enqueue_one`).
CREATE FUNCTION enqueue_in(jobs text, keep bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answers text;
    t bigint := instant(NULL);
BEGIN
    PERFORM beside_lines();
    SELECT json_agg(json_build_array(e.answer, e.holder))::text INTO answers
    FROM (
        SELECT
            array_agg((g.j ->> 'id')::uuid ORDER BY g.k) AS ids,
            array_agg(g.j ->> 'task' ORDER BY g.k) AS tasks,
            array_agg(g.j ->> 'queue' ORDER BY g.k) AS queues,
            array_agg(g.j ->> 'requires' ORDER BY g.k) AS requires,
            array_agg(number_of(g.j ->> 'task') ORDER BY g.k) AS task_numbers,
            array_agg(number_of(g.j ->> 'queue') ORDER BY g.k) AS queue_numbers,
            array_agg(number_of((g.j ->> 'queue') || E'\n' || (g.j ->> 'requires')) ORDER BY g.k) AS lanes,
            array_agg(9 - (g.j ->> 'priority')::bigint ORDER BY g.k) AS ranks,
            array_agg(convert_to(g.j ->> 'payload', 'UTF8') ORDER BY g.k) AS payloads,
            array_agg(convert_to(g.j ->> 'options', 'UTF8') ORDER BY g.k) AS options,
            array_agg(g.j ->> 'limit_key' ORDER BY g.k) AS limit_keys,
            array_agg((g.j ->> 'due')::bigint ORDER BY g.k) AS dues,
            array_agg((g.j ->> 'expiry')::bigint ORDER BY g.k) AS expiries,
            array_agg(g.j ->> 'key' ORDER BY g.k) AS keys,
            array_agg((g.j ->> 'until')::smallint ORDER BY g.k) AS untils,
            array_agg((g.j ->> 'replaces')::boolean ORDER BY g.k) AS replaces
        FROM json_array_elements(enqueue_in.jobs::json) WITH ORDINALITY AS g (j, k)
    ) c CROSS JOIN LATERAL enqueue_each(
        NULL, t, enqueue_in.keep, 0, true, false, c.ids, c.tasks, c.queues, c.requires, c.task_numbers,
        c.queue_numbers, c.lanes, c.ranks, c.payloads, c.options, c.limit_keys, c.dues, c.expiries, c.keys, c.untils,
        c.replaces, '{}'::integer[], '{}'::uuid[], '{}'::smallint[]
    ) e;
    RETURN answers;
END $$;

-- A UUID of version 7: the time in milliseconds, then chance.
CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_byte(
            overlay(uuid_send(gen_random_uuid()) PLACING
                substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112
        ), 'hex'
    )::uuid
$$;

-- Stores a job, and answers its id; with a unique key that another unfinished job of the task holds, that one's.
--
-- `arguments` by the names of the task's parameters. The queue is not looked up in the task: name it if it is not `default`.
-- `on_conflict`: return, raise, or replace.
CREATE FUNCTION enqueue(
    task text, arguments jsonb DEFAULT '{}', queue text DEFAULT 'default', priority integer DEFAULT 5,
    delay interval DEFAULT NULL, at timestamptz DEFAULT NULL, expires interval DEFAULT NULL, unique_key text DEFAULT NULL,
    unique_until text DEFAULT 'finished', on_conflict text DEFAULT 'return', limit_key text DEFAULT NULL,
    id uuid DEFAULT NULL
) RETURNS uuid LANGUAGE plpgsql SECURITY INVOKER AS $$
#variable_conflict use_variable
DECLARE
    its_id uuid := coalesce(id, new_id());
    payload bytea := convert_to(arguments::text, 'UTF8');
    said record;
BEGIN
    IF task IS NULL OR length(task) > 200 OR task !~ '^[[:alnum:]_<][[:alnum:]_.:@/<>-]*$' THEN
        RAISE EXCEPTION 'task %: expected 1 to 200 characters: letters, digits and _ . : @ / < > -', quote_nullable(task);
    ELSIF queue IS NULL OR length(queue) > 200 OR queue !~ '^[A-Za-z0-9_][A-Za-z0-9_.:@/-]*$' THEN
        RAISE EXCEPTION 'queue %: expected 1 to 200 characters: letters, digits and _ . : @ / -', quote_nullable(queue);
    ELSIF priority IS NULL OR priority NOT BETWEEN 0 AND 9 THEN
        RAISE EXCEPTION 'priority %: expected 0 (last) to 9 (first)', priority;
    ELSIF arguments IS NULL OR jsonb_typeof(arguments) <> 'object' THEN
        RAISE EXCEPTION 'arguments: expected a JSON object, parameter name to value';
    ELSIF octet_length(payload) > 262144 THEN
        RAISE EXCEPTION 'arguments: % bytes exceed the limit of 262144', octet_length(payload);
    ELSIF delay IS NOT NULL AND at IS NOT NULL THEN
        RAISE EXCEPTION 'delay and at: give one of the two';
    ELSIF delay < interval '0' OR expires < interval '0' THEN
        RAISE EXCEPTION 'delay and expires: expected an interval from now, not into the past';
    ELSIF length(unique_key) NOT BETWEEN 1 AND 500 OR length(limit_key) NOT BETWEEN 1 AND 500 THEN
        RAISE EXCEPTION 'unique_key and limit_key: expected 1 to 500 characters';
    ELSIF unique_until IS NULL OR unique_until NOT IN ('finished', 'started') THEN
        RAISE EXCEPTION 'unique_until %: expected finished or started', quote_nullable(unique_until);
    ELSIF on_conflict IS NULL OR on_conflict NOT IN ('return', 'raise', 'replace') THEN
        RAISE EXCEPTION 'on_conflict %: expected return, raise or replace', quote_nullable(on_conflict);
    END IF;
    PERFORM beside_lines();
    SELECT e.* INTO said FROM enqueue_each(
        NULL, instant(NULL), 86400000000, 0, true, false,
        ARRAY[its_id], ARRAY[task], ARRAY[queue], ARRAY[''], ARRAY[number_of(task)], ARRAY[number_of(queue)],
        ARRAY[number_of(queue || E'\n')], ARRAY[9 - priority::bigint], ARRAY[payload], NULL, ARRAY[limit_key],
        ARRAY[CASE WHEN delay > interval '0' THEN -(extract(epoch FROM delay) * 1000000)::bigint
            ELSE (extract(epoch FROM at) * 1000000)::bigint END],
        ARRAY[-(extract(epoch FROM expires) * 1000000)::bigint],
        ARRAY[unique_key], ARRAY[CASE WHEN unique_until = 'started' THEN 2 ELSE 1 END::smallint],
        ARRAY[on_conflict = 'replace'], '{}'::integer[], '{}'::uuid[], '{}'::smallint[]
    ) e;
    IF said.answer = 1 THEN
        IF on_conflict = 'raise' THEN
            RAISE EXCEPTION 'task %: job % holds the unique key and has not finished', task, said.holder
                USING ERRCODE = 'unique_violation';
        END IF;
        RETURN said.holder;
    END IF;
    RETURN its_id;
END $$;
