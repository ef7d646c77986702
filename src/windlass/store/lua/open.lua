#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), session, record, lease, then its lanes
-- -> nothing
--!include _common _write
local session = ARGV[6]
local key = ns .. 's:' .. session
local lanes = {}
for i = 9, #ARGV do lanes[#lanes + 1] = ARGV[i] end
if call('HSETNX', key, 'o', now) == 1 then
  call('HSET', key, 'l', ARGV[8], 'u', now + ARGV[8], 'n', 0, 'q', 0)
  call('ZADD', ns .. 'sessions', now, session)
end
call('HSET', key, 'r', ARGV[7], 'w', cmsgpack.pack(lanes))
done()
return 0
