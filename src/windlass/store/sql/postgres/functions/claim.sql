-- Taking ready jobs.

-- A row of an answer. Kind 0: the head of `settle` (token: whether edges were left, attempt: whether what limits count has
-- become less, failures: how many jobs with edges have finished). 1: a settlement (attempt: its place, token: the answer). 2: the head of a claim (attempt: the refusal, token:
-- whether to ask again at once, snoozes: whether the session stands among the idle now, enqueued_at: retry_in, pos: entries
-- looked at). 3: a job that was claimed. 4: nothing was done,
-- since it would have to come after settlements that may still be under way.
CREATE TYPE claimed AS (
    kind smallint, id uuid, token integer, attempt integer, failures integer, snoozes integer, pos bigint,
    enqueued_at bigint, undeliverable_for bigint, task text, queue text, requires text, limit_key text, options bytea,
    payload bytea
);

-- Locks the session, and spends the request number if nothing can be said against it; answers whether it did.
CREATE FUNCTION spend_request(s uuid, number bigint, alone boolean) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- Before all other locks: who changes a limit record waits for the claims that are under way.
    PERFORM pg_advisory_xact_lock_shared(lock_number('records'));
    UPDATE sessions x SET request = number
    WHERE x.id = s AND NOT x.revoked AND x.request < number AND NOT x.alone AND NOT spend_request.alone;
    IF FOUND THEN RETURN true; END IF;
    PERFORM FROM sessions x WHERE x.id = s FOR UPDATE;
    RETURN false;
END $$;

-- Judges a request that was not simply good, of a session that is locked: the refusal (windlass.core.model.Refusal), or none,
-- the number being spent.
CREATE FUNCTION judge_request(s uuid, number bigint, alone boolean) RETURNS smallint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    known sessions%ROWTYPE;
BEGIN
    SELECT * INTO known FROM sessions x WHERE x.id = s;
    IF NOT FOUND THEN RETURN 1; END IF;
    IF known.revoked THEN RETURN 2; END IF;
    IF number <= known.request THEN RETURN 3; END IF;
    -- The mark says that a suspect was given once; whether it is still held, the jobs say.
    IF (judge_request.alone AND EXISTS (SELECT FROM jobs WHERE state = 3 AND session = s))
        OR (known.alone AND EXISTS (SELECT FROM jobs WHERE state = 3 AND session = s AND suspect))
    THEN RETURN 4; END IF;
    UPDATE sessions x SET request = number, alone = judge_request.alone WHERE x.id = s;
    RETURN NULL;
END $$;

-- A claim that comes `beside` settlements does not see what they change: it takes only where that cannot matter. `listener`:
-- the lock of the connection on which hints for this session are heard, if they are; `stands`: it may stand among the idle.
CREATE FUNCTION claim(
    clock bigint, s uuid, request bigint, lanes bigint[], queues text[], untils integer[], alone boolean, most_bytes bigint,
    range_lanes integer[], range_firsts bigint[], range_lasts bigint[], beside boolean, listener bigint,
    stands boolean
) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    refused smallint;
    answered bigint;
    late claimed;
BEGIN
    IF beside AND (EXISTS (SELECT FROM limits) OR EXISTS (
        SELECT FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = ANY (lanes)
    )) THEN
        late.kind := 4;
        RETURN NEXT late;
        RETURN;
    END IF;
    IF NOT spend_request(s, request, alone) THEN refused := judge_request(s, request, alone); END IF;
    RETURN QUERY SELECT * FROM take(
        instant(clock), s, request, refused, lanes, queues, untils, alone, most_bytes, range_lanes, range_firsts, range_lasts,
        listener, stands
    );
    GET DIAGNOSTICS answered = ROW_COUNT;
    -- A claim that took jobs waits for the disk: if a crash of the server undid it, others would be given the same jobs while
    -- the lease of this session still holds. One that found nothing has its last row only, and waits for nothing.
    IF answered < 2 THEN PERFORM set_config('synchronous_commit', 'off', true); END IF;
END $$;

-- A claim of a session that is locked. With ranges (see windlass.store.postgres.floors), it looks only at those positions of
-- lanes in which all jobs are alike.
CREATE FUNCTION take(
    t bigint, s uuid, request bigint, refused smallint, lanes bigint[], queues text[], untils integer[], alone boolean,
    most_bytes bigint, range_lanes integer[], range_firsts bigint[], range_lasts bigint[], listener bigint, stands boolean
) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    some_ranges boolean := cardinality(range_lanes) > 0;
    looked_at bigint := pg_stat_get_xact_tuples_returned('jobs_ready'::regclass);
    picked uuid[];
    any_expired boolean;
    head claimed;
    w walk;
    limited boolean;
    everywhere boolean;
    wide boolean := cardinality(lanes) > 1;
    got integer;
    want integer;
    next_size integer;
BEGIN
    head.kind := 2;
    head.attempt := refused;
    head.token := 0;
    IF refused IS NOT NULL THEN
        RETURN NEXT head;
        RETURN;
    END IF;
    SELECT count(*) > 0, coalesce(bool_or(l.scope > 0), false) INTO limited, everywhere FROM limits l;
    any_expired := EXISTS (
        SELECT FROM jobs j WHERE j.state < 3 AND j.attempt = 0 AND j.expires_at IS NOT NULL AND j.expires_at <= t
    );
    -- They are the janitors' to cancel: have them do it now, lest they stand before everybody for long.
    IF any_expired THEN PERFORM tell('scheduled', ''); END IF;
    w.taken := 0;
    w.bytes := most_bytes;
    w.more := false;
    IF alone THEN
        IF limited THEN PERFORM lock_lines(); END IF;
        FOR i IN 1..cardinality(lanes) LOOP
            EXIT WHEN w.taken > 0;
            w := walk_suspects(w, t, s, request, lanes[i], queues[i]);
        END LOOP;
        IF w.taken > 0 THEN RETURN QUERY SELECT * FROM claimed_rows(t, w.jobs); END IF;
    ELSE
        FOR i IN 1..cardinality(lanes) LOOP
            want := least(untils[i], 1000) - w.taken;
            CONTINUE WHEN want <= 0 OR w.bytes <= 0;
            IF everywhere OR (limited AND EXISTS (SELECT FROM limits l WHERE l.scope = 0 AND l.name = queues[i]))
                OR EXISTS (SELECT FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND j.aside AND j.lane = lanes[i])
            THEN
                w := walk_lane(w, t, s, request, lanes[i], queues[i], want);
                IF cardinality(w.jobs) > 0 THEN RETURN QUERY SELECT * FROM claimed_rows(t, w.jobs); END IF;
                CONTINUE;
            END IF;
            CONTINUE WHEN wide AND NOT some_ranges AND NOT EXISTS (
                SELECT FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = lanes[i]
            );
            -- What comes first in the lane, in order. A job that has started before does not expire.
            IF some_ranges THEN
                picked := ARRAY(
                    SELECT p.id FROM unnest(range_lanes, range_firsts, range_lasts) AS r (lane, first, last)
                    CROSS JOIN LATERAL (
                        SELECT j.id FROM jobs j
                        WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = lanes[i]
                            AND j.pos BETWEEN r.first AND r.last
                            AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
                        ORDER BY j.pos LIMIT want FOR NO KEY UPDATE SKIP LOCKED
                    ) p
                    WHERE r.lane = i LIMIT want
                );
            ELSIF any_expired THEN
                -- The same, looking at a bounded number of jobs.
                picked := ARRAY(
                    SELECT j.id FROM (
                        SELECT x.id, x.pos FROM jobs x
                        WHERE x.state = 2 AND NOT x.suspect AND NOT x.aside AND x.lane = lanes[i] ORDER BY x.pos LIMIT want + 2000
                    ) near JOIN jobs j ON j.id = near.id
                    WHERE j.state + 0 = 2 AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
                    ORDER BY near.pos LIMIT want FOR NO KEY UPDATE OF j SKIP LOCKED
                );
                IF cardinality(picked) < want AND EXISTS (
                    SELECT FROM jobs x WHERE x.state = 2 AND NOT x.suspect AND NOT x.aside AND x.lane = lanes[i]
                    ORDER BY x.pos OFFSET want + 2000 LIMIT 1
                ) THEN
                    w.more := true;
                END IF;
            ELSE
                picked := ARRAY(
                    SELECT j.id FROM jobs j
                    WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = lanes[i]
                        AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0)
                    ORDER BY j.pos LIMIT want FOR NO KEY UPDATE SKIP LOCKED
                );
            END IF;
            CONTINUE WHEN cardinality(picked) = 0;
            -- As many of them as fit.
            RETURN QUERY
            WITH sized AS MATERIALIZED (
                SELECT b.*, p.place,
                    sum(octet_length(b.payload)) OVER (ORDER BY p.place ROWS UNBOUNDED PRECEDING) AS upto
                FROM unnest(picked) WITH ORDINALITY AS p (id, place) JOIN bodies b ON b.id = p.id
            ), taken AS (
                UPDATE jobs j SET
                    state = 3, token = j.token + 1, attempt = j.attempt + 1, session = s, request = take.request,
                    started_at = t, settled = NULL, key = CASE WHEN z.unique_until = 2 THEN NULL ELSE j.key END
                FROM sized z
                WHERE j.id = z.id AND (z.upto <= w.bytes OR (z.place = 1 AND w.taken = 0))
                RETURNING j.id, j.token, j.attempt, j.failures, j.snoozes, j.pos, z.enqueued_at,
                    coalesce(greatest(0, t - j.undeliverable_since), 0),
                    z.task, z.queue, z.requires, z.limit_key, z.options, z.payload
            )
            SELECT 3::smallint, k.* FROM taken k ORDER BY k.pos;
            GET DIAGNOSTICS got = ROW_COUNT;
            IF wide AND got > 0 THEN
                SELECT w.bytes - sum(octet_length(b.payload)) INTO w.bytes FROM jobs j JOIN bodies b ON b.id = j.id
                WHERE j.state = 3 AND j.session = s AND j.request = take.request AND j.lane = lanes[i];
                SELECT octet_length(b.payload) INTO next_size FROM (
                    SELECT j.id FROM jobs j WHERE j.state = 2 AND NOT j.suspect AND NOT j.aside AND j.lane = lanes[i]
                        AND (j.expires_at IS NULL OR j.expires_at > t OR j.attempt > 0) ORDER BY j.pos LIMIT 1
                ) n JOIN bodies b ON b.id = n.id;
                -- Nothing after a job that does not fit is taken either, so that nothing overtakes it.
                IF got < want AND next_size > w.bytes THEN w.bytes := 0; END IF;
            END IF;
            w.taken := w.taken + got;
        END LOOP;
    END IF;
    -- Where there are three sessions or less, nobody is worth a row; each look at the table costs an idle round trip 25 us.
    head.snoozes := 0;
    IF w.taken = 0 AND listener IS NOT NULL AND NOT alone AND pg_relation_size('idle'::regclass) <= 2097152 THEN
        head.snoozes := (EXISTS (SELECT FROM sessions OFFSET 3))::integer;
    END IF;
    IF head.snoozes = 1 THEN
        PERFORM await_jobs(s, lanes, listener);
    ELSIF stands THEN
        PERFORM expect_nothing(s);
    END IF;
    head.token := w.more::integer;
    head.enqueued_at := w.retry_in;
    -- Entries of the index that were looked at: they are many more than jobs where the dead cannot be cleaned up.
    head.pos := pg_stat_get_xact_tuples_returned('jobs_ready'::regclass) - looked_at;
    RETURN NEXT head;
END $$;

CREATE FUNCTION claimed_rows(t bigint, ids uuid[]) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT 3::smallint, j.id, j.token, j.attempt, j.failures, j.snoozes, j.pos, b.enqueued_at,
        coalesce(greatest(0, t - j.undeliverable_since), 0),
        b.task, b.queue, b.requires, b.limit_key, b.options, b.payload
    FROM unnest(ids) WITH ORDINALITY AS g (id, k) JOIN jobs j ON j.id = g.id JOIN bodies b ON b.id = g.id
    ORDER BY g.k;
END $$;
