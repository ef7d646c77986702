#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, limit
-- -> {lane, jobs ready in it, in turn; records (see _record) of scheduled jobs; of the last of them or nothing; of waiting jobs}
--!include _common _record
local limit = tonumber(ARGV[3])
local function records(ids, skip)
  local found = {}
  for i, id in ipairs(ids) do found[i] = record(string.sub(id, skip)) end
  return found
end
local scheduled = records(call('ZRANGE', ns .. 'due', 0, limit - 1), 8)
local last = call('ZRANGE', ns .. 'due', -1, -1)[1]
local waiting = records(call('ZRANGE', ns .. 'waiting', 0, limit - 1), 1)
return {call('HGETALL', ns .. 'lanes'), scheduled, last and record(string.sub(last, 8)) or false, waiting}
