-- Ending attempts, and giving them back.

CREATE FUNCTION add_error(job_id uuid, new_error bytea) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO errors (job, k, error) VALUES (job_id, nextval('sequences'), new_error);
    -- The last windlass.core.model.MAX_ERRORS.
    DELETE FROM errors WHERE job = job_id AND k <= (SELECT k FROM errors WHERE job = job_id ORDER BY k DESC OFFSET 10 LIMIT 1);
END $$;

-- One attempt that is not simply a success. `ended` takes the job if it finished and has edges. If it is ready again, the
-- caller tells of it.
CREATE FUNCTION settle_one(
    t bigint, s uuid, job_id uuid, its_token integer, outcome smallint, result bytea, error bytea, delay bigint,
    its_keep bigint, started boolean, keep bigint, INOUT ended uuid[], OUT answer integer
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    j jobs%ROWTYPE;
    d record;
    final smallint;
    takes_back integer := (outcome = 7 OR (outcome = 5 AND NOT started))::integer;
BEGIN
    SELECT * INTO j FROM jobs WHERE id = job_id FOR UPDATE;
    IF NOT FOUND THEN
        SELECT x.session, x.token, x.settled INTO d FROM done x WHERE x.id = job_id;
        answer := CASE WHEN d.session = s AND d.token = its_token AND d.settled = outcome THEN 1 ELSE 2 END;
        RETURN;
    ELSIF j.session IS DISTINCT FROM s OR j.token <> its_token OR (j.state <> 3 AND j.settled IS DISTINCT FROM outcome) THEN
        answer := 2;
        RETURN;
    ELSIF j.state <> 3 THEN
        answer := 1;
        RETURN;
    END IF;
    answer := 0;
    IF error IS NOT NULL THEN PERFORM add_error(job_id, error); END IF;
    final := CASE WHEN outcome = 1 THEN 4 WHEN j.cancel_requested OR outcome = 6 THEN 6 WHEN outcome = 3 THEN 5 END;
    IF outcome <> 1 THEN
        UPDATE jobs x SET
            attempt = x.attempt - takes_back, failures = x.failures + (outcome IN (2, 3))::integer,
            snoozes = x.snoozes + (outcome = 4)::integer, settled = outcome,
            undeliverable_since = CASE
                WHEN outcome = 7 THEN coalesce(x.undeliverable_since, t)
                WHEN final IS NULL AND (started OR outcome <> 5) THEN NULL
                ELSE x.undeliverable_since
            END,
            state = CASE WHEN final IS NOT NULL THEN 3 WHEN outcome = 5 OR delay = 0 THEN 2 ELSE 1 END,
            pos = CASE
                WHEN final IS NOT NULL OR outcome = 5 THEN x.pos
                WHEN delay = 0 THEN next_pos(x.pos)
                ELSE x.pos >> 49 << 49
            END,
            due_at = CASE WHEN final IS NULL AND outcome <> 5 AND delay > 0 THEN t + delay ELSE x.due_at END,
            aside = x.limit_key IS NOT NULL
        WHERE x.id = job_id;
    END IF;
    IF final IS NOT NULL THEN
        ended := ended || finish(
            t, ARRAY[job_id], final, CASE WHEN final = 6 THEN 1 ELSE 0 END::smallint,
            CASE WHEN outcome IN (1, 3, 6) THEN its_keep ELSE keep END, CASE WHEN final = 4 THEN result END, outcome
        );
    ELSIF outcome <> 5 AND delay > 0 THEN
        PERFORM tell_scheduled(t + delay);
    END IF;
END $$;

-- Settlements, then a claim (`request` 0: none). Rows: one for each settlement that was not applied (kind 1: `at`, its place
-- in the call, and `answer`), then those of `claim`; the first, of kind 0, has `more_edges` in `answer`.
CREATE FUNCTION settle(
    clock bigint, s uuid, told boolean, keep bigint, edges_most integer,
    ids uuid[], tokens integer[], outcomes smallint[], results bytea[], errors bytea[], delays bigint[], keeps bigint[],
    started boolean[],
    request bigint, lanes bigint[], queues text[], untils integer[], alone boolean, most_bytes bigint,
    range_lanes integer[], range_firsts bigint[], range_lasts bigint[], listener bigint, stands boolean
) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    t bigint := instant(clock);
    refused smallint;
    spent boolean;
    applied uuid[];
    ended uuid[];
    more_edges boolean := false;
    one record;
    a claimed;
BEGIN
    -- Sessions before jobs, as everywhere.
    IF request > 0 THEN spent := spend_request(s, request, alone); END IF;
    -- All of them in the order of their ids, as everybody locks jobs: those that succeeded come first below.
    IF NOT 1 = ALL (outcomes) THEN PERFORM FROM jobs WHERE id = ANY (ids) ORDER BY id FOR UPDATE; END IF;
    -- `state + 0`, lest the planner take the index of what runs in place of the key: see docs/decisions/0025. In the order of
    -- the ids, as everybody locks jobs.
    WITH gone AS (
        DELETE FROM jobs j USING (
            SELECT o.* FROM unnest(ids, tokens, outcomes, results, keeps) AS o (id, token, outcome, result, keep) ORDER BY o.id
        ) g
        WHERE j.id = g.id AND j.state + 0 = 3 AND j.token = g.token AND (j.session = s) IS TRUE AND g.outcome = 1
        RETURNING j.*, g.result AS its_result, greatest(g.keep, 300000000) AS its_keep
    ), kept AS (
        INSERT INTO done AS d (
            pos, lane, queue, task, n, id, session, token, attempt, failures, losses, snoozes, state, settled, reason,
            suspect, cancel_requested, linked, finished_at, due_at, expires_at, started_at, undeliverable_since, purge_at,
            keep, result
        )
        SELECT g.pos, g.lane, g.queue, g.task, g.n, g.id, g.session, g.token, g.attempt, g.failures, g.losses, g.snoozes,
            4, 1, 0, g.suspect, g.cancel_requested, g.linked, t, g.due_at, g.expires_at, g.started_at,
            g.undeliverable_since, CASE WHEN NOT g.linked THEN t + g.its_keep END, CASE WHEN g.linked THEN g.its_keep END,
            g.its_result
        FROM gone g
        RETURNING d.id, d.linked
    )
    SELECT coalesce(array_agg(k.id), '{}'), coalesce(array_agg(k.id) FILTER (WHERE k.linked), '{}') INTO applied, ended
    FROM kept k;
    IF told THEN PERFORM tell_finished(applied); END IF;
    IF cardinality(applied) < cardinality(ids) THEN
        FOR one IN
            SELECT g.* FROM unnest(ids, tokens, outcomes, results, errors, delays, keeps, settle.started) WITH ORDINALITY
                AS g (id, token, outcome, result, error, delay, keep, started, place)
            WHERE g.id IN (SELECT unnest(ids) EXCEPT SELECT unnest(applied)) ORDER BY g.place
        LOOP
            SELECT x.ended, x.answer INTO ended, a.token FROM settle_one(
                t, s, one.id, one.token, one.outcome, one.result, one.error, one.delay, one.keep, one.started,
                settle.keep, ended
            ) x;
            IF a.token = 0 THEN
                applied := applied || one.id;
            ELSE
                a.kind := 1;
                a.attempt := one.place - 1;
                RETURN NEXT a;
            END IF;
        END LOOP;
        PERFORM tell_ready(applied);
    END IF;
    IF cardinality(ended) > 0 THEN
        -- In the order of the call.
        ended := ARRAY(SELECT o.id FROM unnest(ids) WITH ORDINALITY AS o (id, k) WHERE o.id = ANY (ended) ORDER BY o.k);
        SELECT c.more INTO more_edges FROM cascade(t, ended, edges_most, settle.keep, true, false) c;
    END IF;
    a := NULL;
    a.kind := 0;
    a.token := more_edges::integer;
    a.failures := coalesce(cardinality(ended), 0);
    -- Told by the caller, together with others: see `tell_free_places`.
    a.attempt := (cardinality(applied) > 0 AND EXISTS (SELECT FROM limits WHERE concurrency IS NOT NULL))::integer;
    RETURN NEXT a;
    IF request > 0 THEN
        IF NOT spent THEN refused := judge_request(s, request, alone); END IF;
        RETURN QUERY SELECT * FROM take(
            t, s, request, refused, lanes, queues, untils, alone, most_bytes, range_lanes, range_firsts, range_lasts, listener, stands
        );
    END IF;
END $$;

-- Puts running jobs that nobody started back to their old positions, or cancels them where somebody asked.
CREATE FUNCTION give_back(t bigint, ids uuid[], keep bigint, edges_most integer) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    back uuid[];
    ended uuid[];
BEGIN
    IF cardinality(ids) = 0 THEN RETURN; END IF;
    PERFORM FROM jobs WHERE id = ANY (ids) ORDER BY id FOR UPDATE;
    WITH back AS (
        UPDATE jobs SET state = 2, attempt = attempt - 1, aside = limit_key IS NOT NULL
        WHERE id = ANY (ids) AND state + 0 = 3 AND NOT cancel_requested RETURNING id
    ) SELECT coalesce(array_agg(b.id), '{}') INTO back FROM back b;
    PERFORM tell_ready(back);
    WITH ending AS (
        UPDATE jobs SET attempt = attempt - 1 WHERE id = ANY (ids) AND state + 0 = 3 AND cancel_requested RETURNING id
    ) SELECT coalesce(array_agg(e.id), '{}') INTO ended FROM ending e;
    PERFORM cascade(
        t, finish(t, ended, 6::smallint, 1::smallint, give_back.keep), edges_most, give_back.keep, true, false
    );
    PERFORM tell_free_places();
END $$;

CREATE FUNCTION unclaim(clock bigint, s uuid, its_request bigint, keep bigint, edges_most integer) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    UPDATE sessions SET request = greatest(request, its_request) WHERE id = s;
    IF NOT FOUND THEN RETURN; END IF;
    PERFORM give_back(
        instant(clock), ARRAY(SELECT id FROM jobs WHERE state = 3 AND session = s AND request = its_request),
        unclaim.keep, edges_most
    );
END $$;

CREATE FUNCTION annotate(
    s uuid, ids uuid[], tokens integer[], progresses double precision[], messages bytea[], logs bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    i integer;
BEGIN
    FOREACH i IN ARRAY ARRAY(SELECT g.k::integer FROM unnest(ids) WITH ORDINALITY AS g (id, k) ORDER BY g.id, g.k) LOOP
        PERFORM FROM jobs WHERE id = ids[i] AND session = s AND token = tokens[i] AND state + 0 = 3 FOR SHARE;
        CONTINUE WHEN NOT FOUND;
        INSERT INTO notes (job, progress, message, log) VALUES (ids[i], progresses[i], messages[i], logs[i])
        ON CONFLICT (job) DO UPDATE SET
            progress = coalesce(excluded.progress, notes.progress), message = coalesce(excluded.message, notes.message),
            -- The last windlass.core.model.MAX_LOG bytes; readers drop what is left of a character that was cut.
            log = substr(
                notes.log || excluded.log, greatest(1, octet_length(notes.log) + octet_length(excluded.log) - 65536 + 1)
            );
    END LOOP;
END $$;
