#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), counted name, "concurrency count per burst" or empty to leave them, paused (1 or 0) or empty
--   to leave it
-- -> nothing
--!include _common _write
local name, numbers, paused = ARGV[6], ARGV[7], ARGV[8]
local stored = call('HGET', ns .. 'limits', name) or '0 - - - -'
if paused == '' then paused = string.sub(stored, 1, 1) end
if numbers == '' then numbers = string.sub(stored, 3) end
if paused == '0' and numbers == '- - - -' then
  call('HDEL', ns .. 'limits', name)
else
  call('HSET', ns .. 'limits', name, paused .. ' ' .. numbers)
end
-- Lines that an older version of the limits has barred are reopened by claims, some at a time.
if string.sub(name, 1, 1) == '2' then call('INCR', ns .. 'lv') end
makes_room = 'limits'
publish('limits')
done()
return 0
