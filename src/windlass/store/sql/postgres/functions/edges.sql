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
        RETURN CASE WHEN awaits(job, 2::smallint) THEN 0 ELSE 2 END;
    END IF;
    RETURN CASE WHEN awaits(job, 0::smallint) OR awaits(job, 1::smallint) THEN 0 ELSE 1 END;
END $$;

-- Whether a parent of this policy is still to end: asked of the last edge, so that no index is in question but the one that has
-- this order. For "outcome IS NULL" a planner that knows of few edges reads those of everybody that are not marked.
CREATE FUNCTION awaits(job uuid, its_policy smallint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce((
        SELECT e.outcome IS NULL FROM edges e WHERE e.child = job AND e.policy = its_policy AND e.policy >= 0
        ORDER BY e.child DESC, e.policy DESC, e.outcome DESC LIMIT 1
    ), false);
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

-- Lets these jobs' time in the store run, if no dependant is unfinished and the cursor has done with them; answers those for
-- which it does. Whoever adds an edge writes the row of the job: if he was waited for, his edge was not seen, and the row is not
-- the one that was looked at.
CREATE FUNCTION begin_retention(t bigint, ids uuid[]) RETURNS uuid[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    begun uuid[];
BEGIN
    WITH over AS MATERIALIZED (
        SELECT d.ctid AS at, d.xmin AS version FROM done d
        WHERE d.id = ANY (ids) AND d.purge_at IS NULL
            AND NOT EXISTS (SELECT FROM edges e WHERE e.parent = d.id AND NOT e.closed OFFSET 0)
            AND NOT EXISTS (SELECT FROM releases r WHERE r.job = d.id OFFSET 0)
        ORDER BY d.id
    ), went AS (
        UPDATE done d SET purge_at = t + d.keep FROM over o WHERE d.ctid = o.at AND d.xmin = o.version RETURNING d.id
    ) SELECT coalesce(array_agg(w.id), '{}') INTO begun FROM went w;
    RETURN begun;
END $$;

-- A second look at jobs whose retention did not begin, at which others may be looking too: parents to which this call closed
-- edges, and what was behind the cursor. Two who close the last two edges of a job do not see each other's. So whoever finds
-- edges open that may be closing now, which are `most`, holds the job until the end, and looks again. Answers those that
-- another holds: they are to be looked at once more. Where more edges are open that is not worth it; should they all be
-- closing, the end of a dependant's own retention puts it right (see `remove_jobs`).
CREATE FUNCTION look_again(t bigint, ids uuid[], most integer) RETURNS uuid[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    rest uuid[];
    held uuid[];
BEGIN
    rest := ARRAY(
        SELECT d.id FROM done d WHERE d.id = ANY (ids) AND d.purge_at IS NULL
            AND NOT EXISTS (SELECT FROM edges e WHERE e.parent = d.id AND NOT e.closed OFFSET most)
    );
    IF cardinality(rest) = 0 THEN RETURN '{}'; END IF;
    held := ARRAY(SELECT d.id FROM done d WHERE d.id = ANY (rest) FOR NO KEY UPDATE SKIP LOCKED);
    PERFORM begin_retention(t, held);
    RETURN ARRAY(SELECT unnest(rest) EXCEPT SELECT unnest(held));
END $$;

-- Locks those of these jobs that wait; answers them, and those that another has. With `patient` it waits for the others,
-- in the order of the ids: only for whoever holds nothing else that waits.
CREATE FUNCTION hold_waiting(ids uuid[], patient boolean, OUT held uuid[], OUT busy uuid[]) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    busy := '{}';
    IF patient THEN
        held := ARRAY(
            SELECT j.id FROM jobs j WHERE j.id = ANY (ids) AND j.state + 0 = 0 ORDER BY j.id FOR NO KEY UPDATE
        );
        RETURN;
    END IF;
    held := ARRAY(SELECT j.id FROM jobs j WHERE j.id = ANY (ids) AND j.state + 0 = 0 FOR NO KEY UPDATE SKIP LOCKED);
    busy := ARRAY(SELECT j.id FROM jobs j WHERE j.id = ANY (ids) AND j.state + 0 = 0 AND j.id <> ALL (held));
END $$;

-- Carries on along the edges of jobs that have succeeded, all of them together: marks those to dependants, and closes their
-- own, as far as the budget goes. Answers what it moved, which jobs have edges left, which dependants were cancelled, and
-- whose edges were closed. Edges are looked for, and dependants judged, in statements of their own after the locks: two
-- parents may end at once.
-- Whether a dependant still waits is looked for from the last edge back: those before have ended by then, as a rule, and
-- what is left of them in the index would be passed over one by one until it is swept.
-- The edge to a dependant that waits is its holder's to change. One that does not wait may be closing its own: it is closed
-- before any such edge is marked, and marked only if nobody has it; so nobody waits in a circle.
CREATE FUNCTION cascade_successes(
    t bigint, succeeded uuid[], budget integer, keep bigint, patient boolean,
    OUT moved integer, OUT unfinished uuid[], OUT ended uuid[], OUT closed_of uuid[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    mothers uuid[];
    kids uuid[];
    waiting uuid[];
    busy uuid[];
    go uuid[];
    odd uuid[];
    kid uuid;
    closing integer;
    left_some boolean := false;
BEGIN
    ended := '{}';
    unfinished := '{}';
    closed_of := '{}';
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
    IF moved > 0 THEN SELECT h.held, h.busy INTO waiting, busy FROM hold_waiting(kids, patient) h; END IF;
    IF moved < budget THEN
        WITH closed AS (
            UPDATE edges e SET closed = true FROM (
                SELECT y.parent, y.child FROM (
                    SELECT parent, child FROM edges WHERE child = ANY (succeeded) AND NOT closed LIMIT budget - moved
                ) y ORDER BY y.parent, y.child
            ) x WHERE e.parent = x.parent AND e.child = x.child
            RETURNING e.parent
        ) SELECT count(*), coalesce(array_agg(DISTINCT c.parent), '{}') INTO closing, closed_of FROM closed c;
    ELSE
        closing := 0;
    END IF;
    IF moved > 0 AND (cardinality(busy) > 0 OR (
        cardinality(waiting) < moved AND cardinality(waiting) < (SELECT count(DISTINCT o.id) FROM unnest(kids) AS o (id))
    )) THEN
        left_some := true;
        WITH mine AS MATERIALIZED (
            SELECT e.parent, e.child, m.k FROM unnest(mothers, kids) WITH ORDINALITY AS m (parent, child, k)
                JOIN edges e ON e.parent = m.parent AND e.child = m.child
            WHERE m.child <> ALL (busy) FOR NO KEY UPDATE OF e SKIP LOCKED
        )
        SELECT coalesce(array_agg(x.parent ORDER BY x.k), '{}'), coalesce(array_agg(x.child ORDER BY x.k), '{}')
        INTO mothers, kids FROM mine x;
        moved := cardinality(kids);
    END IF;
    IF moved > 0 THEN
        UPDATE edges e SET outcome = 4 FROM unnest(mothers, kids) AS m (parent, child)
        WHERE e.parent = m.parent AND e.child = m.child;
        SELECT array_agg(k.id) FILTER (WHERE k.plain AND NOT k.waits), array_agg(k.id) FILTER (WHERE NOT k.plain) INTO go, odd
        FROM (
            SELECT j.id,
                (j.due_at IS NULL OR j.due_at <= t) AND j.limit_key IS NULL
                    AND NOT EXISTS (SELECT FROM edges e WHERE e.child = j.id AND e.policy = 2 OFFSET 0)
                    AND NOT EXISTS (
                        SELECT FROM edges e WHERE e.child = j.id AND e.policy = 0 AND e.outcome IN (5, 6) OFFSET 0
                    ) AS plain,
                coalesce((
                    SELECT e.outcome IS NULL FROM edges e WHERE e.child = j.id AND e.policy = 0
                    ORDER BY e.child DESC, e.policy DESC, e.outcome DESC LIMIT 1
                ), false) OR coalesce((
                    SELECT e.outcome IS NULL FROM edges e WHERE e.child = j.id AND e.policy = 1
                    ORDER BY e.child DESC, e.policy DESC, e.outcome DESC LIMIT 1
                ), false) AS waits
            FROM (SELECT DISTINCT ON (id) id, k FROM unnest(kids) WITH ORDINALITY AS o (id, k) ORDER BY id, k) d
                CROSS JOIN LATERAL (SELECT x.* FROM jobs x WHERE x.id = d.id AND x.state + 0 = 0 OFFSET 0) j
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
    moved := moved + closing;
    IF left_some OR moved >= budget THEN
        unfinished := ARRAY(
            SELECT o.id FROM unnest(succeeded) WITH ORDINALITY AS o (id, k)
            WHERE EXISTS (SELECT FROM edges WHERE parent = o.id AND outcome IS NULL OFFSET 0)
                OR EXISTS (SELECT FROM edges WHERE child = o.id AND NOT closed OFFSET 0)
            ORDER BY o.k
        );
    END IF;
END $$;

-- Has jobs looked at once more behind the cursor: those of them that come from it, and of each other one a dependant of this
-- call, to which an edge is left open. Answers who is to stay, or come, behind the cursor.
CREATE FUNCTION leave_open(parents uuid[], over uuid[], rest uuid[]) RETURNS uuid[] LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    kids uuid[];
BEGIN
    WITH opened AS (
        UPDATE edges e SET closed = false FROM (
            SELECT o.id, (
                SELECT x.child FROM edges x WHERE x.parent = o.id AND x.child = ANY (over || rest) AND x.closed LIMIT 1
            ) AS child FROM unnest(parents) AS o (id) WHERE o.id <> ALL (over)
        ) a WHERE e.parent = a.id AND e.child = a.child
        RETURNING e.child
    ) SELECT coalesce(array_agg(DISTINCT o.child), '{}') INTO kids FROM opened o;
    UPDATE done SET purge_at = NULL WHERE id = ANY (kids) AND purge_at IS NOT NULL;
    RETURN kids || ARRAY(SELECT unnest(parents) INTERSECT SELECT unnest(over));
END $$;

-- Carries on along the edges of finished jobs, in order, until `budget` edges have moved. What remains is left behind the
-- cursor. A dependant that is cancelled on the way queues up, so that a long chain is work in bounded parts too.
--
-- Dependants of these jobs are waited for, in the order of their ids, by who is `patient`: who holds nothing but jobs that ran,
-- or their rows of the cursor. Nobody waits for those of dependants that are cancelled, which could be had in no order: what
-- another has is left behind the cursor too. Jobs `behind` it are protected by their rows of it, which are locked.
CREATE FUNCTION cascade(
    t bigint, finished uuid[], budget integer, keep bigint, patient boolean, behind boolean,
    OUT moved integer, OUT more boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    i integer := 1;
    its_end smallint;
    alike uuid[];
    part uuid[];
    busy uuid[];
    kid uuid;
    most integer;
    went record;
    owed boolean;
    rest uuid[] := '{}';            -- with edges left
    over uuid[] := '{}';            -- without
    closed_of uuid[] := '{}';
    begun uuid[];
    waits boolean := patient;
BEGIN
    moved := 0;
    more := false;
    IF cardinality(finished) = 0 THEN RETURN; END IF;
    IF behind THEN PERFORM FROM done WHERE id = ANY (finished) ORDER BY id FOR KEY SHARE; END IF;
    alike := ARRAY(
        SELECT o.id FROM unnest(finished) WITH ORDINALITY AS o (id, k)
        WHERE (SELECT d.state = 4 FROM done d WHERE d.id = o.id) ORDER BY o.k
    );
    IF patient AND cardinality(alike) < cardinality(finished) THEN
        PERFORM hold_waiting(ARRAY(
            SELECT x.child FROM unnest(finished) AS o (id) CROSS JOIN LATERAL (
                SELECT child FROM edges WHERE parent = o.id AND outcome IS NULL ORDER BY n LIMIT budget
            ) x LIMIT 2 * budget
        ), true);
        waits := false;
    END IF;
    IF cardinality(alike) > 0 THEN
        SELECT * INTO went FROM cascade_successes(t, alike, budget, cascade.keep, waits);
        moved := went.moved;
        closed_of := went.closed_of;
        rest := went.unfinished;
        over := CASE WHEN cardinality(rest) = 0 THEN alike ELSE ARRAY(SELECT unnest(alike) EXCEPT SELECT unnest(rest)) END;
        finished := ARRAY(
            SELECT o.id FROM unnest(finished) WITH ORDINALITY AS o (id, k) WHERE NOT o.id = ANY (alike) ORDER BY o.k
        ) || went.ended;
        -- Successes with edges left, and all that waits behind them.
        more := moved >= budget AND cardinality(rest) > 0;
    END IF;
    WHILE NOT more AND i <= cardinality(finished) LOOP
        SELECT state INTO its_end FROM done WHERE id = finished[i];
        IF NOT FOUND THEN i := i + 1; CONTINUE; END IF;  -- replayed meanwhile, which took it from the cursor
        most := budget - moved;
        -- One more than may move tells whether anything stays.
        part := ARRAY(
            SELECT child FROM edges WHERE parent = finished[i] AND outcome IS NULL ORDER BY n LIMIT most + 1
        );
        more := cardinality(part) > most;
        part := part[1:most];
        owed := false;
        IF cardinality(part) > 0 THEN
            SELECT h.busy INTO busy FROM hold_waiting(part, false) h;
            alike := part;
            part := ARRAY(
                SELECT e.child FROM edges e WHERE e.parent = finished[i] AND e.child = ANY (part) AND e.child <> ALL (busy)
                ORDER BY e.n FOR NO KEY UPDATE SKIP LOCKED
            );
            owed := cardinality(part) < cardinality(alike);
            UPDATE edges SET outcome = its_end WHERE parent = finished[i] AND child = ANY (part);
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
            alike := part;
            part := ARRAY(
                SELECT e.parent FROM edges e WHERE e.child = finished[i] AND e.parent = ANY (part)
                FOR NO KEY UPDATE SKIP LOCKED
            );
            owed := owed OR cardinality(part) < cardinality(alike);
            UPDATE edges SET closed = true WHERE child = finished[i] AND parent = ANY (part);
            moved := moved + cardinality(part);
            closed_of := closed_of || part;
        END IF;
        EXIT WHEN more;
        IF owed THEN rest := rest || finished[i]; ELSE over := over || finished[i]; END IF;
        i := i + 1;
    END LOOP;
    IF more THEN rest := rest || finished[i:]; END IF;
    -- A parent whose own turn is still to come is not done with.
    IF cardinality(rest) > 0 THEN closed_of := ARRAY(SELECT unnest(closed_of) EXCEPT SELECT unnest(rest)); END IF;
    IF behind THEN
        DELETE FROM releases WHERE job = ANY (over);
        closed_of := closed_of || over;
        begun := begin_retention(t, closed_of);
    ELSE
        begun := begin_retention(t, CASE WHEN patient THEN over || closed_of ELSE over END);
    END IF;
    part := ARRAY(SELECT unnest(closed_of) EXCEPT SELECT unnest(begun));
    IF cardinality(part) > 0 THEN
        part := look_again(t, part, 64 + 8 * moved);
        IF cardinality(part) > 0 THEN rest := rest || leave_open(part, over, rest); END IF;
    END IF;
    more := cardinality(rest) > 0;
    IF more THEN
        INSERT INTO releases (job) SELECT o.id FROM unnest(rest) WITH ORDINALITY AS o (id, k) ORDER BY o.k
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
    SELECT c.moved, c.more INTO done, left_some FROM cascade(instant(clock), found, most, keep, true, true) c;
    more := left_some OR EXISTS (SELECT FROM releases);
    RETURN NEXT;
END $$;
