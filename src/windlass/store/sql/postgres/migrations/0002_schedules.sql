CREATE TABLE schedules (
    name text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    definition bytea NOT NULL,
    paused boolean NOT NULL,
    next bigint,
    last bigint,
    fired bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    last_job uuid,
    changed_at bigint NOT NULL,
    -- One that was deleted stays for a while, for its version and its last fire time.
    deleted_at bigint
) WITH (fillfactor = 70, autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX schedules_due ON schedules (next) WHERE next IS NOT NULL AND NOT paused AND deleted_at IS NULL;
CREATE INDEX schedules_deleted ON schedules (deleted_at) WHERE deleted_at IS NOT NULL;
