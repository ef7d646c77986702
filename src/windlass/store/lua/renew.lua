#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), session, lease of the duty, highest request answered, ids and tokens of all that is held
--   (16 bytes, and a token as text, in turn)
-- -> {0} if the session is unknown or revoked; else {1, ids lost, ids to cancel, commands, 1 if it has the duty, 1 if a suspect is
--   ready in one of its lanes}
--!include _common _write _job _edges _finish _give_back _session
local session, answered = ARGV[6], tonumber(ARGV[8])
local life = life_of(session)
if not life or life.revoked then return {0} end
call('HSET', ns .. 's:' .. session, 'u', now + life.lease, 'n', life.renewals + 1)

local held, still, lost, to_cancel = ns .. 'h:' .. session, {}, {}, {}
local function look_at(ids, tokens) -- at what the worker says that it holds
  for i, record in ipairs(call('HMGET', held, unpack(ids))) do
    local id = ids[i]
    local token, plain = string.match(record or '', '^%d+ (%d+)( ?)')
    if token ~= tokens[i] then
      lost[#lost + 1] = id
    else
      still[id] = true
      if plain == '' and call('HGET', J .. id, 'cr') then to_cancel[#to_cancel + 1] = id end
    end
  end
end
for from = 9, #ARGV, 4000 do
  local ids, tokens = {}, {}
  for i = from, math.min(from + 3999, #ARGV), 2 do
    ids[#ids + 1] = ARGV[i]
    tokens[#tokens + 1] = ARGV[i + 1]
  end
  look_at(ids, tokens)
end

local given_back = 0
for _, one in ipairs(call('HLEN', held) > (#ARGV - 8) / 2 - #lost and held_by(session, 0, answered * 1024 + 1023) or {}) do
  if not still[one[2]] and given_back < 1000 then
    give_back(load(one[2]))
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
