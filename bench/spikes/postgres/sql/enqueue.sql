-- enqueue(ids, tasks, lanes, priorities, payloads, delays, edges as two arrays, fresh) -> ids that were stored before.
-- fresh: every id was made for this very call and this is the first sending, so no finished job can have it.
-- The check against `done` comes after the insert, in a statement with its own snapshot: before it, a job that finishes in between is run twice.
CREATE FUNCTION enqueue(ids uuid[], tasks text[], lanes int[], priorities int[], payloads bytea[], delays bigint[],
                        parents uuid[], children uuid[], fresh boolean) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE stored uuid[]; finished uuid[]; known int; t bigint := now_us();
BEGIN
  INSERT INTO job (id, pos, due, lane, state, task, payload, child)
    SELECT s.id, ((9 - s.priority)::bigint << 49) + nextval('position'), CASE WHEN s.delay > 0 THEN t + s.delay END, s.lane,
           CASE WHEN s.id = ANY (children) THEN 0 WHEN s.delay > 0 THEN 1 ELSE 2 END, s.task, s.payload, s.id = ANY (children)
      FROM unnest(ids, tasks, lanes, priorities, payloads, delays) AS s (id, task, lane, priority, payload, delay)
    ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS known = ROW_COUNT;
  IF known < cardinality(ids) THEN
    -- xmax/xmin tricks are not portable: ours are those inserted by this transaction
    stored := ARRAY (SELECT j.id FROM job j JOIN unnest(ids) AS s (id) ON j.id = s.id WHERE j.xmin <> pg_current_xact_id()::xid);
  END IF;
  IF NOT fresh THEN
    finished := ARRAY (SELECT d.id FROM unnest(ids) AS s (id) JOIN done d ON d.id = s.id);
    IF cardinality(finished) > 0 THEN
      DELETE FROM job j WHERE j.id = ANY (finished);
      stored := stored || finished;
    END IF;
  END IF;
  IF cardinality(children) > 0 THEN
    -- lock unfinished parents in id order; finished ones count at once; unknown ones refuse the whole batch
    PERFORM 1 FROM job j WHERE j.id = ANY (parents) ORDER BY j.id FOR SHARE;
    SELECT count(*) INTO known FROM (SELECT DISTINCT unnest(parents) AS id) p
      WHERE EXISTS (SELECT FROM job j WHERE j.id = p.id) OR EXISTS (SELECT FROM done d WHERE d.id = p.id);
    IF known < (SELECT count(DISTINCT p) FROM unnest(parents) p) THEN RAISE EXCEPTION 'unknown parent' USING ERRCODE = 'WL001'; END IF;
    INSERT INTO edge SELECT e.p, e.c, EXISTS (SELECT FROM done d WHERE d.id = e.p AND d.outcome = 0)
      FROM unnest(parents, children) AS e (p, c) WHERE e.c <> ALL (coalesce(stored, '{}')) ON CONFLICT DO NOTHING;
    UPDATE job j SET state = 2 WHERE j.id = ANY (children) AND state = 0
      AND NOT EXISTS (SELECT FROM edge e WHERE e.child = j.id AND NOT e.released);
  END IF;
  RETURN coalesce(stored, '{}');
END $$;
