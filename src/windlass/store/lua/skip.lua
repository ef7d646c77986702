#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), id, result
-- -> 0 skipped, 1 started, 2 unknown
--!include _common _write _job _edges _finish
local job = load(ARGV[6])
if not job then return 2 end
if job.state >= RUNNING then return 1 end
finish(job, SUCCEEDED, KEEP, REASON_SKIPPED, ARGV[7])
cascade()
done()
return 0
