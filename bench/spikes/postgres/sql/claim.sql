-- claim(session, request, limit, lanes, payload bytes) -> (id, token, task, payload, failures, losses, given_back). 
-- Stops at the first job that starts beyond the byte bound, so one job always comes. Refused: WL002 unknown, revoked or late.
CREATE FUNCTION lock_session(s uuid, r bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE session SET request = r WHERE id = s AND NOT revoked AND request < r;
  IF NOT FOUND THEN
    RAISE EXCEPTION '%', coalesce((SELECT CASE WHEN revoked THEN 'revoked' ELSE 'late' END FROM session WHERE id = s), 'unknown') USING ERRCODE = 'WL002';
  END IF;
END $$;

CREATE TYPE claimed AS (id uuid, token int, task text, payload bytea, failures smallint, losses smallint, given_back int);

CREATE FUNCTION take(s uuid, r bigint, most int, lanes int[], bytes bigint) RETURNS SETOF claimed LANGUAGE plpgsql AS $$ -- a SQL-language one is planned anew at each call
#variable_conflict use_column
BEGIN RETURN QUERY
  WITH picked AS MATERIALIZED (
    SELECT p.id, p.bytes FROM unnest(lanes) WITH ORDINALITY AS l (lane, n)
      CROSS JOIN LATERAL (SELECT j.id, octet_length(j.payload) AS bytes FROM job j WHERE j.state = 2 AND j.losses < 2 AND j.lane = l.lane
                          ORDER BY j.pos LIMIT most FOR UPDATE SKIP LOCKED) p
      LIMIT most),
  fitting AS MATERIALIZED (SELECT f.id FROM (SELECT p.id, sum(p.bytes) OVER (ROWS UNBOUNDED PRECEDING) - p.bytes AS before FROM picked p) f
    WHERE f.before < bytes)
  UPDATE job j SET state = 3, token = j.token + 1, session = s, request = r, outcome = NULL
    FROM fitting WHERE j.id = fitting.id
    RETURNING j.id, j.token, j.task, j.payload, j.failures, j.losses, j.given_back;
END $$;

CREATE FUNCTION claim(s uuid, r bigint, most int, lanes int[], bytes bigint) RETURNS SETOF claimed LANGUAGE plpgsql AS $$
BEGIN
  PERFORM lock_session(s, r);
  RETURN QUERY SELECT * FROM take(s, r, most, lanes, bytes);
END $$;
