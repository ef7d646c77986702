#!lua
-- KEYS namespace
-- ARGV head (see _common, _write), then for each: name, definition, version that is changed, next or empty, paused (1 or 0)
-- -> a text per schedule: 0 stored, 1 changed by somebody else, 2 followed by its last fire time
--!include _common _write _schedule
local answers, earlier = {}, false

local function store_schedule(name, definition, version, at, paused)
  local key = schedule_key(name)
  local v = call('HMGET', key, 'v', 'd', 'p', 'l', 'g')
  local there = v[1] and not v[5]
  if version ~= (there and v[1] or '0') then
    return there and v[2] == definition and v[3] == paused and '0' or '1'
  end
  if v[4] and at ~= '' and tonumber(at) <= tonumber(v[4]) then return '2' .. v[4] end
  if not there then
    call('HDEL', key, 'g', 'f', 'k', 'j')
    call('ZREM', ns .. 'schedules_gone', name)
    call('ZADD', ns .. 'schedules', 0, name)
  end
  call('HSET', key, 'v', int((v[1] or 0) + 1), 'd', definition, 'p', paused, 'c', NOW)
  local first = call('ZRANGE', ns .. 'schedules_due', 0, 0, 'WITHSCORES')[2]
  if at == '' then
    call('HDEL', key, 'n')
  else
    call('HSET', key, 'n', at)
  end
  if at == '' or paused == '1' then
    call('ZREM', ns .. 'schedules_due', name)
  else
    call('ZADD', ns .. 'schedules_due', at, name)
    earlier = earlier or not first or tonumber(at) < tonumber(first)
  end
  return '0'
end

for at = 6, #ARGV, 5 do
  answers[#answers + 1] = store_schedule(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
if earlier then publish('schedules') end
done()
return answers
