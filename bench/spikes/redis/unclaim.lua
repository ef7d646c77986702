#!lua flags=allow-oom
-- KEYS namespace   ARGV session, request, most   -> how many were given back (== most: call again)
-- Marks the request as spent, so that a late claim with it is refused; old positions; nothing is counted as an attempt.
--!include _common
local session, request = ARGV[1], tonumber(ARGV[2])
local q = call('HGET', S .. session, 'q')
if not q then return 0 end
if tonumber(q) < request then call('HSET', S .. session, 'q', ARGV[2]) end
local all, back = call('HGETALL', H .. session), {}
for i = 1, #all, 2 do
  local _, r, score, _, lane = held(all[i + 1])
  if tonumber(r) == request then
    call('HSET', J .. all[i], 's', 'ready')
    call('HINCRBY', J .. all[i], 'b', 1)
    call('ZADD', L .. lane, score, all[i])
    back[#back + 1] = all[i]
    if #back == tonumber(ARGV[3]) then break end
  end
end
if #back > 0 then call('HDEL', H .. session, unpack(back)) end
return #back
