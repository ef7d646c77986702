-- `windlass.` stands for the schema, whatever it is called: see windlass.store.postgres.statements.

-- name: has_meta
SELECT to_regclass('windlass.meta') IS NOT NULL;

-- name: has_tables
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1);

-- name: read_version
-- No layout may change these columns: older code asks for them.
SELECT version, oldest FROM windlass.meta;

-- name: set_version
INSERT INTO windlass.meta (one, version, oldest) VALUES (1, $1, $2)
ON CONFLICT (one) DO UPDATE SET version = excluded.version, oldest = excluded.oldest;

-- name: live_sessions
-- No layout may change these columns: this is asked of older ones.
SELECT record, lease_until, windlass.instant($1) AS now FROM windlass.sessions
WHERE NOT revoked AND lease_until > windlass.instant($1) AND layout < $2 ORDER BY opened_at;

-- name: about_server
SELECT current_setting('server_version_num')::integer, current_setting('server_encoding');

-- name: lock_migration
SELECT pg_advisory_xact_lock(hashtextextended('windlass/migrate/' || $1, 0));

-- name: own_functions
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1;

-- name: own_triggers
SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) FROM pg_trigger t
WHERE t.tgrelid = to_regclass('windlass.jobs') AND NOT t.tgisinternal;

-- name: own_types
SELECT t.oid::regtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace JOIN pg_class c ON c.oid = t.typrelid
WHERE n.nspname = $1 AND c.relkind = 'c';

-- name: now
SELECT windlass.instant($1);

-- name: tell
-- Nobody waits for its commit to be safe on disk.
SELECT set_config('synchronous_commit', 'off', true), windlass.tell(g.kind, g.what)
FROM unnest($1::text[], $2::text[]) AS g (kind, what);

-- name: tell_lanes
-- So many jobs in each of these lanes.
SELECT set_config('synchronous_commit', 'off', true), windlass.tell_lane(g.lane, g.queue, g.jobs)
FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS g (lane, queue, jobs);
