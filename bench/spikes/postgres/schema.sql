-- Spike schema. Positions: (9 - priority) << 49 | sequence, one bigint. Times: store clock, integer microseconds.
CREATE SCHEMA spike;
SET search_path = spike;
CREATE SEQUENCE position CACHE 1;
CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql VOLATILE AS
  $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;

-- Hot: unfinished jobs only. state 0 waiting, 1 scheduled, 2 ready, 3 running. session, token and outcome stay after a
-- release or retry: they are the proof by which a repeated settle is known.
CREATE TABLE job (
  id uuid PRIMARY KEY,
  pos bigint NOT NULL,
  due bigint,
  session uuid,
  request bigint,
  token int NOT NULL DEFAULT 0,
  lane int NOT NULL,
  state smallint NOT NULL,
  outcome smallint,
  failures smallint NOT NULL DEFAULT 0,
  losses smallint NOT NULL DEFAULT 0,
  given_back int NOT NULL DEFAULT 0,
  cancel boolean NOT NULL DEFAULT false,
  child boolean NOT NULL DEFAULT false,
  task text NOT NULL,
  payload bytea NOT NULL,
  error bytea
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ready ON job (lane, pos) WHERE state = 2 AND losses < 2;
CREATE INDEX suspect ON job (lane, pos) WHERE state = 2 AND losses >= 2;
CREATE INDEX held ON job (session) WHERE state = 3;
CREATE INDEX due ON job (due) WHERE state = 1;

CREATE TABLE done (
  id uuid PRIMARY KEY,
  session uuid, token int, state smallint NOT NULL, outcome smallint, failures smallint, losses smallint, finished bigint NOT NULL,
  purge bigint, task text NOT NULL, payload bytea NOT NULL, result bytea
) WITH (autovacuum_vacuum_cost_delay = 0);
CREATE INDEX purge ON done (purge) WHERE purge IS NOT NULL;

CREATE TABLE edge (parent uuid, child uuid, released boolean NOT NULL DEFAULT false, PRIMARY KEY (parent, child)) WITH (fillfactor = 80);
CREATE INDEX edge_child ON edge (child);
CREATE TABLE release_cursor (parent uuid PRIMARY KEY);

CREATE TABLE session (id uuid PRIMARY KEY, lease_end bigint NOT NULL, renewals bigint NOT NULL DEFAULT 0, request bigint NOT NULL DEFAULT 0,
  revoked boolean NOT NULL DEFAULT false) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
