#!lua flags=allow-oom
-- KEYS namespace   ARGV session, retention µs, request (0: no claim), limit, payload bytes, number of lanes, lane...,
--   then per settlement: id, token, kind (succeeded | dead | retry | release), result or error, delay µs
-- -> {answers: one letter each: a applied, r repeated (already), l lost; claimed flat list; '' or the claim's refusal}
-- At most 256 edges are released here; a parent with more stays in :cursor for any worker to finish.
--!include _common
--!include _take
local session, t = ARGV[1], now()
local first = 7 + tonumber(ARGV[6])
local ids, answers, rec = {}, {}, {}
for i = first, #ARGV, 5 do ids[#ids + 1] = ARGV[i] end
local dropped, purge, parents, room = {}, {}, {}, 256
local cancelled = {}
if #ids > 0 then
  rec = call('HMGET', H .. session, unpack(ids))
  parents = call('SMISMEMBER', ns .. ':edges', unpack(ids))
  cancelled = call('SMISMEMBER', C .. session, unpack(ids))
end
local function ready(id, lane, score) call('ZADD', L .. lane, score, id) end
local function newposition(id)
  return position(call('HGET', J .. id, 'i'), call('INCR', ns .. ':seq'))
end
local function release(parent)
  local kids = call('ZRANGEBYSCORE', ns .. ':e:' .. parent, 0, 0, 'LIMIT', 0, room + 1)
  if #kids > room then
    call('SADD', ns .. ':cursor', parent)
    kids[#kids] = nil
  end
  room = room - #kids
  for _, kid in ipairs(kids) do
    call('ZADD', ns .. ':e:' .. parent, 1, kid)
    call('ZADD', ns .. ':p:' .. kid, 1, parent)
    if call('ZCOUNT', ns .. ':p:' .. kid, 0, 0) == 0 then
      local v = call('HMGET', J .. kid, 's', 'q')
      if v[1] == 'waiting' then
        call('HSET', J .. kid, 's', 'ready')
        ready(kid, v[2], newposition(kid))
      end
    end
  end
end
for n, id in ipairs(ids) do
  local a = first + (n - 1) * 5
  local token, kind, data, delay = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4])
  local htoken, _, score, has, lane
  if rec[n] then htoken, _, score, has, lane = held(rec[n]) end
  if htoken ~= token then
    answers[n] = call('HGET', J .. id, 'l') == session .. token .. kind and 'r' or 'l'
  elseif not answers[id] then
    answers[n], answers[id] = 'a', true -- a second settlement of one id in one batch is a repeat
    dropped[#dropped + 1] = id
    local proof = session .. token .. kind
    if cancelled[n] == 1 and kind ~= 'succeeded' then kind = 'cancelled' end
    if kind == 'retry' and delay > 0 then
      call('HSET', J .. id, 's', 'scheduled', 'l', proof, 'r', data)
      call('HINCRBY', J .. id, 'f', 1)
      call('ZADD', ns .. ':due', int(t + delay), id)
    elseif kind == 'retry' then
      call('HSET', J .. id, 's', 'ready', 'l', proof, 'r', data)
      call('HINCRBY', J .. id, 'f', 1)
      ready(id, lane, newposition(id))
    elseif kind == 'release' then
      call('HSET', J .. id, 's', 'ready', 'l', proof)
      call('HINCRBY', J .. id, 'b', 1)
      ready(id, lane, score)
    else
      call('HSET', J .. id, 's', kind, 'l', proof, 'r', data)
      if has == '1' then call('SADD', ns .. ':retain', id) end
      if parents[n] == 0 then
        purge[#purge + 1] = int(t + ARGV[2])
        purge[#purge + 1] = id
      elseif room == 0 or kind ~= 'succeeded' then
        call('SADD', ns .. ':cursor', id)
      else
        release(id)
      end
    end
  else
    answers[n] = 'r'
  end
end
if #dropped > 0 then
  call('HDEL', H .. session, unpack(dropped))
  call('SREM', C .. session, unpack(dropped))
end
if #purge > 0 then call('ZADD', ns .. ':purge', unpack(purge)) end
local out, no = {}, ''
if ARGV[3] ~= '0' then
  no = refuse(session, tonumber(ARGV[3])) or ''
  if no == '' then
    local lanes = {}
    for i = 7, first - 1 do lanes[i - 6] = ARGV[i] end
    take(session, ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), lanes, out)
  end
end
return {table.concat(answers), out, no}
