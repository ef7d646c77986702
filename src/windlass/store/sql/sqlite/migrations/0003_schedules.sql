CREATE TABLE schedules (
    name TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    definition BLOB NOT NULL,
    paused INTEGER NOT NULL,
    next INTEGER,
    last INTEGER,
    fired INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    last_job BLOB,
    changed_at INTEGER NOT NULL,
    -- One that was deleted stays for a while, for its version and its last fire time.
    deleted_at INTEGER
);
CREATE INDEX schedules_due ON schedules (next) WHERE next IS NOT NULL AND paused = 0 AND deleted_at IS NULL;
CREATE INDEX schedules_deleted ON schedules (deleted_at) WHERE deleted_at IS NOT NULL;
