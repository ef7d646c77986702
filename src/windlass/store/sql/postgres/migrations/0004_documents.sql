-- Workers of the layout before go on.

CREATE TABLE documents (
    kind text COLLATE "C",
    key text COLLATE "C",
    version bigint NOT NULL,
    expires_at bigint,
    body bytea NOT NULL,
    PRIMARY KEY (kind, key)
) WITH (fillfactor = 70, autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX documents_expiring ON documents (expires_at) WHERE expires_at IS NOT NULL;
