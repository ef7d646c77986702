#!lua
-- KEYS namespace
-- ARGV head (see _common, _write), number of firings, then for each: name, version, due, last, next or empty, skipped, number of
--   jobs, and the jobs (see _store)
-- -> for each firing: 0 stale, or an answer per job (see _store)
--!include _common _write _job _edges _finish _store _schedule
local answers, at = {}, 7

local function is_fresh(name, version, due)
  local v = call('HMGET', schedule_key(name), 'v', 'n', 'p', 'g')
  return v[1] == version and v[2] == due and v[3] == '0' and not v[4] and tonumber(due) <= now
end

local function fire(number)
  local name, jobs, found = ARGV[at], tonumber(ARGV[at + 6]), {}
  local key, fired, last_job = schedule_key(name), 0, nil
  for i = 1, jobs do
    local job = at + 7 + (i - 1) * 6
    found[i] = store_job(job)
    if found[i] == 0 then fired, last_job = fired + 1, ARGV[job] end
  end
  call('HSET', key, 'l', ARGV[at + 3])
  if fired > 0 then call('HINCRBY', key, 'f', fired) end
  local skipped = tonumber(ARGV[at + 5]) + jobs - fired
  if skipped > 0 then call('HINCRBY', key, 'k', skipped) end
  if last_job then call('HSET', key, 'j', last_job) end
  local following = ARGV[at + 4]
  if following == '' then
    call('HDEL', key, 'n')
    call('ZREM', ns .. 'schedules_due', name)
  else
    call('HSET', key, 'n', following)
    call('ZADD', ns .. 'schedules_due', following, name)
  end
  answers[number] = found
end

for number = 1, tonumber(ARGV[6]) do
  if is_fresh(ARGV[at], ARGV[at + 1], ARGV[at + 2]) then
    fire(number)
  else
    answers[number] = 0
  end
  at = at + 7 + tonumber(ARGV[at + 6]) * 6
end
stored()
cascade()
count_plain()
done()
return answers
