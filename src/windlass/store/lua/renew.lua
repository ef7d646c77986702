#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), session, lease of the duty, highest request answered, ids and tokens of all that is held
--   (16 bytes, and a token as text, in turn)
-- -> {0} if the session is unknown or revoked; else {1, ids lost, ids to cancel, commands, 1 if it has the duty, 1 if a suspect is
--   ready in one of its lanes}
--!include _common _write _job _finish _session
local session, answered = ARGV[6], tonumber(ARGV[8])
local life = life_of(session)
if not life or life.revoked then return {0} end
call('HSET', ns .. 's:' .. session, 'u', now + life.lease, 'n', life.renewals + 1)

local held, still, lost, to_cancel = ns .. 'h:' .. session, {}, {}, {}
for i = 9, #ARGV, 2 do
  local id = ARGV[i]
  local v = call('HMGET', J .. id, 's', 'h', 't', 'c')
  if v[1] == '3' and v[2] == session and v[3] == ARGV[i + 1] then
    still[id] = true
    if v[4] then to_cancel[#to_cancel + 1] = id end
  else
    lost[#lost + 1] = id
  end
end

local given_back = 0
for _, id in ipairs(call('ZRANGEBYSCORE', held, '-inf', answered * 1024 + 1023)) do
  if not still[id] and given_back < 1000 then
    give_back(load(id))
    given_back = given_back + 1
  end
end
cascade()
flush()

local function takes_duty() -- it has it, or nobody has it any more
  local duty = call('HMGET', ns .. 'duty', 'h', 'u')
  if duty[1] and duty[1] ~= session and tonumber(duty[2]) > now and is_alive(life_of(duty[1])) then return 0 end
  call('HSET', ns .. 'duty', 'h', session, 'u', now + ARGV[7])
  return 1
end
local function sees_suspects()
  for _, lane in ipairs(cmsgpack.unpack(life.lanes)) do
    if call('EXISTS', ns .. 'x:' .. lane) == 1 then return 1 end
  end
  return 0
end
local duty, suspects = takes_duty(), sees_suspects()
done()
return {1, lost, to_cancel, call('SMEMBERS', ns .. 'c:' .. session), duty, suspects}
