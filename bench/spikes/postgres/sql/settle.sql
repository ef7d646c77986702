-- settle(session, ids, tokens, outcomes, data, delays, retention, request or 0, limit, lanes, bytes)
-- outcomes: 0 succeeded, 1 dead, 2 retry, 3 release, 4 cancelled (by the store, when a cancellation was asked for).
-- -> rows: first one per settlement that was NOT applied (answer 1 already, 2 lost; id, token), then one per claimed job (answer 0).
CREATE FUNCTION settle(s uuid, ids uuid[], tokens int[], outcomes smallint[], data bytea[], delays bigint[], retention bigint,
                       r bigint, most int, lanes int[], bytes bigint)
RETURNS TABLE (answer smallint, id uuid, token int, task text, payload bytea, failures smallint, losses smallint, given_back int)
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE t bigint := now_us(); most_edges int := 256 + cardinality(ids); -- so that chains, an edge each, never leave a remainder
  kids uuid[]; wide uuid[]; applied uuid[]; succeeded uuid[];
BEGIN
  IF r > 0 THEN PERFORM lock_session(s, r); END IF;  -- before the jobs: renew locks in the same order
  IF cardinality(ids) > 0 THEN
    -- `state + 0`: a plain `state = 3` implies the predicate of the index `held`, and the planner took that (all that any worker holds, or held
    -- since the last vacuum) in place of the key. Ids come sorted, so rows are locked in id order.
    WITH gone AS (
      DELETE FROM job j USING unnest(ids, tokens, outcomes, data) AS g (id, token, outcome, data)
        WHERE j.id = g.id AND j.state + 0 = 3 AND j.token = g.token AND (j.session = s) IS TRUE AND (g.outcome < 2 OR j.cancel)
        RETURNING j.id, j.token, g.outcome, j.cancel AND g.outcome <> 0 AS cancelled, j.failures, j.losses, j.task, j.payload, g.data),
    kept AS (
      INSERT INTO done (id, session, token, state, outcome, failures, losses, finished, purge, task, payload, result)
        SELECT g.id, s, g.token, CASE WHEN g.cancelled THEN 6 ELSE 4 + g.outcome END, g.outcome, g.failures, g.losses, t, t + retention,
               g.task, g.payload, g.data
          FROM gone g RETURNING id, state)
    SELECT array_agg(k.id), array_agg(k.id) FILTER (WHERE k.state = 4) INTO applied, succeeded FROM kept k;
    IF coalesce(cardinality(applied), 0) < cardinality(ids) THEN -- retried and released ones stay
      WITH put AS (
        UPDATE job j SET state = CASE WHEN g.outcome = 2 AND g.delay > 0 THEN 1 ELSE 2 END, outcome = g.outcome,
            due = CASE WHEN g.outcome = 2 AND g.delay > 0 THEN t + g.delay END,
            pos = CASE WHEN g.outcome = 2 THEN (j.pos >> 49 << 49) + nextval('position') ELSE j.pos END,
            failures = j.failures + (g.outcome = 2)::int, given_back = j.given_back + (g.outcome = 3)::int,
            error = CASE WHEN g.outcome = 2 THEN g.data ELSE j.error END
          FROM unnest(ids, tokens, outcomes, data, delays) AS g (id, token, outcome, data, delay)
          WHERE j.id = g.id AND j.state + 0 = 3 AND j.token = g.token AND (j.session = s) IS TRUE
          RETURNING j.id)
      SELECT applied || array_agg(p.id) INTO applied FROM put p;
      RETURN QUERY SELECT
          (CASE WHEN EXISTS (SELECT FROM job j WHERE j.id = g.id AND j.token = g.token AND j.session = s AND j.outcome = g.outcome)
                  OR EXISTS (SELECT FROM done d WHERE d.id = g.id AND d.token = g.token AND d.session = s AND d.outcome = g.outcome)
                THEN 1 ELSE 2 END)::smallint, g.id, g.token, NULL::text, NULL::bytea, NULL::smallint, NULL::smallint, NULL::int
        FROM unnest(ids, tokens, outcomes) AS g (id, token, outcome) WHERE g.id <> ALL (coalesce(applied, '{}'));
    END IF;
    -- Edges are looked for in a statement of its own: one that was added while the delete waited for its lock must be seen.
    SELECT array_agg(DISTINCT e.parent) INTO wide FROM unnest(applied) AS g (id) JOIN edge e ON e.parent = g.id;
    IF wide IS NOT NULL THEN
      UPDATE done d SET purge = NULL WHERE d.id = ANY (wide);
      wide := ARRAY (SELECT unnest(wide) INTERSECT SELECT unnest(succeeded));
    END IF;
    IF wide IS NOT NULL THEN
      -- mark, then lock the dependants in id order, then look again with a new snapshot: two parents may end at once
      WITH first AS MATERIALIZED (SELECT e.parent, e.child FROM edge e WHERE e.parent = ANY (wide) AND NOT e.released LIMIT most_edges),
      marked AS (UPDATE edge e SET released = true FROM first WHERE e.parent = first.parent AND e.child = first.child RETURNING e.child)
      SELECT array_agg(m.child) INTO kids FROM marked m;
      PERFORM 1 FROM unnest(kids) AS k (id) JOIN job j ON j.id = k.id ORDER BY j.id FOR UPDATE OF j;
      UPDATE job j SET state = 2, pos = (j.pos >> 49 << 49) + nextval('position') FROM unnest(kids) AS k (id)
        WHERE j.id = k.id AND j.state = 0 AND NOT EXISTS (SELECT FROM edge e WHERE e.child = j.id AND NOT e.released);
      IF cardinality(kids) = most_edges THEN
        INSERT INTO release_cursor SELECT DISTINCT e.parent FROM edge e WHERE e.parent = ANY (wide) AND NOT e.released ON CONFLICT DO NOTHING;
      END IF;
    END IF;
  END IF;
  IF r > 0 THEN
    RETURN QUERY SELECT 0::smallint, c.* FROM take(s, r, most, lanes, bytes) c;
  END IF;
END $$;
