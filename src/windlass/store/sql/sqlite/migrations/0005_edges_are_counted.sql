-- Edges had four indexes, of which each move of an edge changed three. What those were asked is counted in the jobs now.

-- Of a dependant: its unmarked edges, but for those that want a failure (policy 2), which have an index of their own.
ALTER TABLE jobs ADD COLUMN needs INTEGER NOT NULL DEFAULT 0;
-- Of a parent: its dependants that are unfinished. Its retention waits for them.
ALTER TABLE jobs ADD COLUMN dependants INTEGER NOT NULL DEFAULT 0;
UPDATE jobs SET
    needs = (SELECT count(*) FROM edges WHERE child = jobs.n AND policy < 2 AND outcome IS NULL),
    dependants = (SELECT count(*) FROM edges WHERE parent = jobs.id AND closed = 0)
WHERE linked = 1;
CREATE INDEX jobs_waiting ON jobs (lane, state) WHERE state = 0;

-- How far the cursor is with a job: the last dependant that it has marked, the last parent that it has told of the job's end.
ALTER TABLE releases ADD COLUMN marked_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE releases ADD COLUMN closed_to BLOB NOT NULL DEFAULT x'';
UPDATE releases SET closed_to = coalesce((SELECT max(parent) FROM edges WHERE child = releases.job AND closed = 1), x'');

-- An edge stays until its dependant is purged, marked once with how the parent ended. The parent is named by its id, because
-- it may be purged before the dependant.
ALTER TABLE edges RENAME TO edges_of_layout_4;
CREATE TABLE edges (
    parent BLOB NOT NULL,
    child INTEGER NOT NULL,
    policy INTEGER NOT NULL,
    outcome INTEGER,
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
INSERT INTO edges SELECT parent, child, policy, outcome FROM edges_of_layout_4;
DROP TABLE edges_of_layout_4;
CREATE INDEX edges_child ON edges (child, parent);
-- What decides over a dependant, but for the count: an end that its parent should not have had, and edges that want a failure.
CREATE INDEX edges_unsatisfied ON edges (child) WHERE policy = 0 AND outcome > 4;
CREATE INDEX edges_wanting_failure ON edges (child, outcome) WHERE policy = 2;
