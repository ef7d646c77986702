-- unclaim(session, request) -> given back. Spends the request; the scan is bounded by what one session holds.
CREATE FUNCTION unclaim(s uuid, r bigint) RETURNS bigint LANGUAGE sql AS $$
  UPDATE session SET request = greatest(request, r) WHERE id = s;
  WITH mine AS MATERIALIZED (SELECT id FROM job WHERE session = s AND state = 3 AND request = r ORDER BY id FOR UPDATE),
  back AS (UPDATE job j SET state = 2, given_back = j.given_back + 1 FROM mine WHERE j.id = mine.id AND j.state = 3 RETURNING 1)
  SELECT count(*) FROM back
$$;
