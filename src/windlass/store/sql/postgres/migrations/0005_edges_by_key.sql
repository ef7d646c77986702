-- Workers of the layout before go on. What they show of a job with edges takes longer until they are replaced, since their
-- statements do not name the condition below.

-- The edges of a dependant, by what they say. There are none of other policies: the condition is there so that a single edge,
-- which is looked for by parent and child, is found by the primary key. A planner whose statistics are of an empty or a small
-- table takes one index for the other, and passes over all the edges of a fan-in for each of them.
CREATE INDEX edges_marks ON edges (child, policy, outcome) WHERE policy >= 0;
DROP INDEX edges_verdict;
