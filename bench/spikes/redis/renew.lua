#!lua flags=allow-oom
-- KEYS namespace   ARGV session, lease µs, last answered request, held ids (16 bytes each, joined)
-- -> {ids lost, ids to cancel, ids given back (at most 200)}; error REFUSED unknown | revoked
--!include _common
local session, answered, ids = ARGV[1], tonumber(ARGV[3]), ARGV[4]
local s = call('HMGET', S .. session, 'v', 'q')
if not s[2] then return redis.error_reply('REFUSED unknown') end
if s[1] then return redis.error_reply('REFUSED revoked') end
call('HSET', S .. session, 'u', int(now() + ARGV[2]))
call('HINCRBY', S .. session, 'n', 1)
local mine, lost, found, back = {}, {}, 0, {}
for k = 1, #ids, 16000 do -- unpack() is bounded by Lua's stack
  local part = {}
  for m = k, math.min(k + 15999, #ids), 16 do part[#part + 1] = ids:sub(m, m + 15) end
  for n, r in ipairs(call('HMGET', H .. session, unpack(part))) do
    mine[part[n]] = true
    if r then found = found + 1 else lost[#lost + 1] = part[n] end
  end
end
if call('HLEN', H .. session) > found then
  local all = call('HGETALL', H .. session)
  for i = 1, #all, 2 do
    local _, r, score, _, lane = held(all[i + 1])
    if not mine[all[i]] and tonumber(r) <= answered then
      call('HSET', J .. all[i], 's', 'ready')
      call('HINCRBY', J .. all[i], 'b', 1)
      call('ZADD', L .. lane, score, all[i])
      back[#back + 1] = all[i]
      if #back == 200 then break end
    end
  end
  if #back > 0 then call('HDEL', H .. session, unpack(back)) end
end
return {lost, call('SMEMBERS', C .. session), back}
