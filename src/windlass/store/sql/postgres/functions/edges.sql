-- How jobs finish, and what follows along their edges.

-- Moves jobs to the finished ones; answers those that have edges, in the order of the call. `cascade` is to follow.
CREATE FUNCTION finish(
    t bigint, ids uuid[], final smallint, why smallint, keep bigint, given bytea DEFAULT NULL, how smallint DEFAULT NULL
) RETURNS uuid[] LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    with_edges uuid[];
BEGIN
    IF cardinality(ids) = 0 THEN RETURN '{}'; END IF;
    keep := greatest(keep, 300000000);  -- windlass.core.model.KEEP_AT_LEAST
    WITH gone AS (
        DELETE FROM jobs j WHERE j.id = ANY (ids) RETURNING j.*
    ), kept AS (
        INSERT INTO done AS d (
            pos, lane, queue, task, n, id, session, token, attempt, failures, losses, snoozes, state, settled, reason,
            suspect, cancel_requested, linked, finished_at, due_at, expires_at, started_at, undeliverable_since, purge_at,
            keep, result
        )
        SELECT g.pos, g.lane, g.queue, g.task, g.n, g.id, g.session, g.token, g.attempt, g.failures, g.losses, g.snoozes,
            final, coalesce(how, g.settled), why, g.suspect, g.cancel_requested, g.linked, t, g.due_at, g.expires_at,
            g.started_at, g.undeliverable_since, CASE WHEN NOT g.linked THEN t + keep END, CASE WHEN g.linked THEN keep END,
            given
        FROM gone g
        RETURNING d.id, d.linked
    )
    SELECT array_agg(k.id) FILTER (WHERE k.linked) INTO with_edges FROM kept k;
    PERFORM tell_finished(ids);
    IF with_edges IS NULL THEN RETURN '{}'; END IF;
    RETURN ARRAY(SELECT o.id FROM unnest(ids) WITH ORDINALITY AS o (id, k) WHERE o.id = ANY (with_edges) ORDER BY o.k);
END $$;

-- What the marks on a job's edges say, however many edges it has (windlass.core.graph.verdict): 0 wait, 1 go, 2 cancel.
CREATE FUNCTION verdict(job uuid) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM edges WHERE child = job AND policy = 0 AND outcome IN (5, 6)) THEN RETURN 2; END IF;
    IF EXISTS (SELECT FROM edges WHERE child = job AND policy = 2)
        AND NOT EXISTS (SELECT FROM edges WHERE child = job AND policy = 2 AND outcome IN (5, 6))
    THEN
        IF NOT EXISTS (SELECT FROM edges WHERE child = job AND policy = 2 AND outcome IS NULL) THEN RETURN 2; END IF;
        RETURN 0;
    END IF;
    IF EXISTS (SELECT FROM edges WHERE child = job AND policy = 0 AND outcome IS NULL)
        OR EXISTS (SELECT FROM edges WHERE child = job AND policy = 1 AND outcome IS NULL)
    THEN RETURN 0; END IF;
    RETURN 1;
END $$;

-- Lets a waiting job go, or cancels it, if its edges say so; answers whether it was cancelled. Its row is locked.
CREATE FUNCTION judge(t bigint, job uuid, keep bigint) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    j jobs%ROWTYPE;
    says integer;
BEGIN
    SELECT * INTO j FROM jobs WHERE id = job;
    IF NOT FOUND OR j.state <> 0 THEN RETURN false; END IF;
    says := verdict(job);
    IF says = 2 THEN
        PERFORM finish(t, ARRAY[job], 6::smallint, 3::smallint, judge.keep);
        RETURN true;
    ELSIF says = 1 AND j.due_at > t THEN
        UPDATE jobs SET state = 1 WHERE id = job;
        PERFORM tell_scheduled(j.due_at);
    ELSIF says = 1 THEN
        UPDATE jobs SET state = 2, pos = next_pos(pos), aside = limit_key IS NOT NULL WHERE id = job;
        PERFORM tell_ready(ARRAY[job]);
    END IF;
    RETURN false;
END $$;

-- Lets a job's time in the store run, once no dependant is unfinished and the cursor has done with it.
CREATE FUNCTION start_retention(t bigint, ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE done d SET purge_at = t + d.keep
    WHERE d.id = ANY (ids) AND d.purge_at IS NULL
        AND NOT EXISTS (SELECT FROM edges e WHERE e.parent = d.id AND NOT e.closed)
        AND NOT EXISTS (SELECT FROM releases r WHERE r.job = d.id);
END $$;

-- Carries on along the edges of jobs that have succeeded, all of them together: marks those to dependants, and closes their
-- own, as far as the budget goes. Answers what it moved, which jobs have edges left, and which dependants were cancelled.
-- Edges are looked for, and dependants judged, in statements of their own after the locks: two parents may end at once.
-- Whether a dependant still waits is looked for from the last edge back: those before have ended by then, as a rule, and
-- what is left of them in the index would be passed over one by one until it is swept.
CREATE FUNCTION cascade_successes(
    t bigint, succeeded uuid[], budget integer, keep bigint, OUT moved integer, OUT unfinished uuid[], OUT ended uuid[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    mothers uuid[];
    kids uuid[];
    go uuid[];
    odd uuid[];
    kid uuid;
    closing integer;
BEGIN
    ended := '{}';
    unfinished := '{}';
    SELECT coalesce(array_agg(e.parent ORDER BY e.k, e.n), '{}'), coalesce(array_agg(e.child ORDER BY e.k, e.n), '{}')
        INTO mothers, kids
    FROM (
        SELECT o.k, x.n, x.parent, x.child FROM unnest(succeeded) WITH ORDINALITY AS o (id, k)
            CROSS JOIN LATERAL (
                SELECT n, parent, child FROM edges WHERE parent = o.id AND outcome IS NULL ORDER BY n LIMIT budget
            ) x
        ORDER BY o.k, x.n LIMIT budget
    ) e;
    moved := cardinality(kids);
    IF moved > 0 THEN
        PERFORM FROM jobs WHERE id = ANY (kids) ORDER BY id FOR NO KEY UPDATE;
        UPDATE edges e SET outcome = 4 FROM unnest(mothers, kids) AS m (parent, child)
        WHERE e.parent = m.parent AND e.child = m.child;
        SELECT array_agg(k.id) FILTER (WHERE k.plain AND NOT k.waits), array_agg(k.id) FILTER (WHERE NOT k.plain) INTO go, odd
        FROM (
            SELECT j.id,
                (j.due_at IS NULL OR j.due_at <= t) AND j.limit_key IS NULL
                    AND NOT EXISTS (SELECT FROM edges e WHERE e.child = j.id AND e.policy = 2)
                    AND NOT EXISTS (SELECT FROM edges e WHERE e.child = j.id AND e.policy = 0 AND e.outcome IN (5, 6)) AS plain,
                coalesce((
                    SELECT e.outcome IS NULL FROM edges e WHERE e.child = j.id AND e.policy = 0
                    ORDER BY e.child DESC, e.policy DESC, e.outcome DESC LIMIT 1
                ), false) OR coalesce((
                    SELECT e.outcome IS NULL FROM edges e WHERE e.child = j.id AND e.policy = 1
                    ORDER BY e.child DESC, e.policy DESC, e.outcome DESC LIMIT 1
                ), false) AS waits
            FROM (SELECT DISTINCT ON (id) id, k FROM unnest(kids) WITH ORDINALITY AS o (id, k) ORDER BY id, k) d
                JOIN jobs j ON j.id = d.id
            WHERE j.state + 0 = 0
            ORDER BY d.k
        ) k;
        IF go IS NOT NULL THEN
            -- Positions in the order of the call.
            UPDATE jobs j SET state = 2, pos = p.pos, aside = false FROM (
                SELECT x.id, next_pos(x.pos) AS pos FROM (
                    SELECT g.id, j.pos FROM unnest(go) WITH ORDINALITY AS g (id, k) JOIN jobs j ON j.id = g.id ORDER BY g.k
                ) x
            ) p WHERE j.id = p.id;
            PERFORM tell_ready(go);
        END IF;
        IF odd IS NOT NULL THEN
            FOREACH kid IN ARRAY odd LOOP
                IF judge(t, kid, cascade_successes.keep) THEN ended := ended || kid; END IF;
            END LOOP;
        END IF;
    END IF;
    IF moved < budget THEN
        WITH closed AS (
            UPDATE edges e SET closed = true FROM (
                SELECT parent, child FROM edges WHERE child = ANY (succeeded) AND NOT closed LIMIT budget - moved
            ) x WHERE e.parent = x.parent AND e.child = x.child
            RETURNING e.parent
        ) SELECT count(*), coalesce(array_agg(DISTINCT c.parent), '{}') INTO closing, mothers FROM closed c;
        moved := moved + closing;
    ELSE
        mothers := '{}';
    END IF;
    IF moved >= budget THEN
        unfinished := ARRAY(
            SELECT o.id FROM unnest(succeeded) WITH ORDINALITY AS o (id, k)
            WHERE EXISTS (SELECT FROM edges WHERE parent = o.id AND outcome IS NULL)
                OR EXISTS (SELECT FROM edges WHERE child = o.id AND NOT closed)
            ORDER BY o.k
        );
    END IF;
    -- A parent whose own turn is still to come is not done with.
    PERFORM start_retention(t, ARRAY(SELECT unnest(mothers || succeeded) EXCEPT SELECT unnest(unfinished)));
END $$;

-- Carries on along the edges of finished jobs, in order, until `budget` edges have moved. What remains is left behind the
-- cursor. A dependant that is cancelled on the way queues up, so that a long chain is work in bounded parts too.
CREATE FUNCTION cascade(
    t bigint, finished uuid[], budget integer, keep bigint, behind boolean DEFAULT false,
    OUT moved integer, OUT more boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    i integer := 1;
    ended smallint;
    alike uuid[];
    part uuid[];
    kid uuid;
    most integer;
    went record;
BEGIN
    moved := 0;
    more := false;
    IF cardinality(finished) > 0 THEN
        PERFORM FROM done WHERE id = ANY (finished) ORDER BY id FOR NO KEY UPDATE;
        alike := ARRAY(
            SELECT o.id FROM unnest(finished) WITH ORDINALITY AS o (id, k) JOIN done d ON d.id = o.id WHERE d.state = 4 ORDER BY o.k
        );
        IF cardinality(alike) > 0 THEN
            IF behind THEN DELETE FROM releases WHERE job = ANY (alike); END IF;
            SELECT * INTO went FROM cascade_successes(t, alike, budget, cascade.keep);
            moved := went.moved;
            finished := ARRAY(
                SELECT o.id FROM unnest(finished) WITH ORDINALITY AS o (id, k) WHERE NOT o.id = ANY (alike) ORDER BY o.k
            ) || went.ended;
            IF cardinality(went.unfinished) > 0 THEN
                more := true;
                finished := went.unfinished || finished;
                i := cardinality(finished) + 1;
            END IF;
        END IF;
    END IF;
    WHILE i <= cardinality(finished) LOOP
        SELECT state INTO ended FROM done WHERE id = finished[i] FOR NO KEY UPDATE;
        IF NOT FOUND THEN i := i + 1; CONTINUE; END IF;  -- replayed meanwhile, which took it from the cursor
        most := budget - moved;
        -- One more than may move tells whether anything stays.
        part := ARRAY(
            SELECT child FROM edges WHERE parent = finished[i] AND outcome IS NULL ORDER BY n LIMIT most + 1
        );
        more := cardinality(part) > most;
        part := part[1:most];
        IF cardinality(part) > 0 THEN
            PERFORM FROM jobs WHERE id = ANY (part) ORDER BY id FOR NO KEY UPDATE;
            UPDATE edges SET outcome = ended WHERE parent = finished[i] AND child = ANY (part);
            FOREACH kid IN ARRAY part LOOP
                IF judge(t, kid, cascade.keep) THEN finished := finished || kid; END IF;
            END LOOP;
            moved := moved + cardinality(part);
        END IF;
        EXIT WHEN more;
        most := budget - moved;
        part := ARRAY(SELECT parent FROM edges WHERE child = finished[i] AND NOT closed ORDER BY parent LIMIT most + 1);
        more := cardinality(part) > most;
        part := part[1:most];
        IF cardinality(part) > 0 THEN
            UPDATE edges SET closed = true WHERE child = finished[i] AND parent = ANY (part);
            moved := moved + cardinality(part);
            -- A parent whose own turn is still to come is not done with.
            PERFORM start_retention(t, ARRAY(SELECT unnest(part) EXCEPT SELECT unnest(finished[i:])));
        END IF;
        EXIT WHEN more;
        IF behind THEN DELETE FROM releases WHERE job = finished[i]; END IF;
        PERFORM start_retention(t, finished[i:i]);
        i := i + 1;
    END LOOP;
    IF more THEN
        IF i > cardinality(finished) THEN i := 1; END IF;  -- successes with edges left, and all that waits behind them
        INSERT INTO releases (job) SELECT o.id FROM unnest(finished[i:]) WITH ORDINALITY AS o (id, k) ORDER BY o.k
        ON CONFLICT DO NOTHING;
    END IF;
END $$;

CREATE FUNCTION release_edges(clock bigint, most integer, keep bigint) RETURNS TABLE (done integer, more boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found uuid[];
    left_some boolean;
BEGIN
    found := ARRAY(
        SELECT r.job FROM (SELECT k, job FROM releases ORDER BY k LIMIT most FOR UPDATE SKIP LOCKED) r ORDER BY r.k
    );
    SELECT c.moved, c.more INTO done, left_some FROM cascade(instant(clock), found, most, keep, true) c;
    more := left_some OR EXISTS (SELECT FROM releases);
    RETURN NEXT;
END $$;
