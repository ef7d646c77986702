#!lua flags=allow-oom
-- KEYS namespace   ARGV session, renewals seen, most
-- -> moved (>= 0; the session is gone when nothing is left); -1 unknown; -2 it renewed since; -3 its lease is not over
-- First call marks the session revoked under compare-and-set on its counter; every call moves one bounded step.
--!include _common
local session, most = ARGV[1], tonumber(ARGV[3])
local s = call('HMGET', S .. session, 'u', 'n', 'v')
if not s[1] then return -1 end
if not s[3] then
  if s[2] ~= ARGV[2] then return -2 end
  if tonumber(s[1]) > now() then return -3 end
  call('HSET', S .. session, 'v', 1)
end
local all = call('HSCAN', H .. session, 0, 'COUNT', most)[2]
local gone, n = {}, math.min(#all, most * 2)
local cancelled = call('EXISTS', C .. session) == 1
for i = 1, n, 2 do
  local id = all[i]
  local _, _, score, _, lane = held(all[i + 1])
  if cancelled and call('SISMEMBER', C .. session, id) == 1 then
    call('HSET', J .. id, 's', 'cancelled')
    call('SADD', ns .. ':cursor', id)
  else
    call('HSET', J .. id, 's', 'ready')
    local x = call('HINCRBY', J .. id, 'x', 1)
    call('ZADD', (x >= 2 and X or L) .. lane, score, id)
  end
  gone[#gone + 1] = id
end
if #gone > 0 then call('HDEL', H .. session, unpack(gone)) end
if call('EXISTS', H .. session) == 0 then call('DEL', S .. session, C .. session) end
return #gone
