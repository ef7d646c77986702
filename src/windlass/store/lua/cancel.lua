#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), ids
-- -> per job: 0 cancelled, 1 asked for, 2 finished, 3 unknown
--!include _common _write _job _edges _finish
local function cancel_one(job)
  if not job then return 3 end
  if job.state >= SUCCEEDED then return 2 end
  if job.state ~= RUNNING then
    cancel(job, REASON_CANCELLED)
    return 0
  end
  if not job.cancel_requested then
    set_more(job, 'cr', 1)
    is_not_plain_any_more(job.id)
    told[job.session] = true
  end
  return 1
end
local answers = {}
for i = 6, #ARGV do answers[i - 5] = cancel_one(load(ARGV[i])) end
cascade()
done()
return answers
