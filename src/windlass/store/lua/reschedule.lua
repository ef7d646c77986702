#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), instant, ids
-- -> per job: 1 if it was scheduled, else 0
--!include _common _write _job
local due_at = math.max(tonumber(ARGV[6]), now)
local answers = {}
for i = 7, #ARGV do
  local job = load(ARGV[i])
  answers[i - 6] = job and job.state == SCHEDULED and 1 or 0
  if answers[i - 6] == 1 then
    sync(ns .. 'due')
    job.due_at = due_at
    make_scheduled(job)
  end
end
done()
return answers
