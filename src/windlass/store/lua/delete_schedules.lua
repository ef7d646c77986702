#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), names
-- -> how many there were
--!include _common _write _schedule
local deleted = 0
for i = 6, #ARGV do
  local name = ARGV[i]
  if call('ZREM', ns .. 'schedules', name) == 1 then
    deleted = deleted + 1
    call('ZREM', ns .. 'schedules_due', name)
    call('ZADD', ns .. 'schedules_gone', NOW, name)
    call('HDEL', schedule_key(name), 'd', 'n', 'p')
    call('HSET', schedule_key(name), 'g', NOW)
  end
end
done()
return deleted
