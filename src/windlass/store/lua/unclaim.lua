#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), session, request
-- -> jobs still to be given back: 0 unless the claim was larger than what one call moves
--!include _common _write _job _finish
local session, request = ARGV[6], tonumber(ARGV[7])
local seen = call('HMGET', ns .. 's:' .. session, 'o', 'q')
if not seen[1] then return 0 end
if tonumber(seen[2] or 0) < request then call('HSET', ns .. 's:' .. session, 'q', request) end
local first, last = request * 1024, request * 1024 + 1023
for _, id in ipairs(call('ZRANGEBYSCORE', ns .. 'h:' .. session, first, last, 'LIMIT', 0, 200)) do give_back(load(id)) end
cascade()
done()
return call('ZCOUNT', ns .. 'h:' .. session, first, last)
