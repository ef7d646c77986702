#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), session, request
-- -> jobs still to be given back: 0 unless the claim was larger than what one call moves
--!include _common _write _job _edges _finish _give_back
local session, request = ARGV[6], tonumber(ARGV[7])
local seen = call('HMGET', ns .. 's:' .. session, 'o', 'q')
if not seen[1] then return 0 end
if tonumber(seen[2] or 0) < request then call('HSET', ns .. 's:' .. session, 'q', request) end
local first, last = request * 1024, request * 1024 + 1023
local found = held_by(session, first, last)
for i = 1, math.min(#found, 200) do give_back(load(found[i][2])) end
cascade()
done()
return math.max(0, #found - 200)
