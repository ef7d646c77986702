#!lua
-- KEYS namespace   ARGV per job: id, task, lane, priority, payload, delay µs, parents (16-byte ids, joined)
-- -> per job 1 stored now, 0 was stored before; error UNKNOWN PARENT before anything is written
--!include _common
local n, res, fresh, seq = #ARGV / 7, {}, {}, nil
for i = 0, n - 1 do
  local id, parents = ARGV[i * 7 + 1], ARGV[i * 7 + 7]
  res[i + 1] = (fresh[id] or call('EXISTS', J .. id) == 1) and 0 or 1
  if res[i + 1] == 1 then
    fresh[id] = true
    for k = 1, #parents, 16 do
      local p = parents:sub(k, k + 15)
      if not fresh[p] and call('EXISTS', J .. p) == 0 then return redis.error_reply('UNKNOWN PARENT') end
    end
  end
end
seq = call('INCRBY', ns .. ':seq', n) - n
local lines = {}
for i = 0, n - 1 do
  if res[i + 1] == 1 then
    local a = i * 7
    local id, lane, priority, delay, parents = ARGV[a + 1], ARGV[a + 3], ARGV[a + 4], tonumber(ARGV[a + 6]), ARGV[a + 7]
    local state, pending = delay > 0 and 'scheduled' or 'ready', 0
    for k = 1, #parents, 16 do
      local p = parents:sub(k, k + 15)
      local ended = call('HGET', J .. p, 's') == 'succeeded'
      if not ended then pending = pending + 1 end
      call('ZADD', ns .. ':p:' .. id, ended and 1 or 0, p)
      call('ZADD', ns .. ':e:' .. p, ended and 1 or 0, id)
      call('SADD', ns .. ':edges', p)
    end
    if pending > 0 then state = 'waiting' end
    if #parents > 0 then
      call('HSET', J .. id, 'k', ARGV[a + 2], 'p', ARGV[a + 5], 'q', lane, 'i', priority, 's', state, 'm', 1)
    else
      call('HSET', J .. id, 'k', ARGV[a + 2], 'p', ARGV[a + 5], 'q', lane, 'i', priority, 's', state)
    end
    if state == 'ready' then
      local line = lines[lane] or {}
      lines[lane] = line
      line[#line + 1] = position(priority, seq + i + 1)
      line[#line + 1] = id
    elseif state == 'scheduled' then
      call('ZADD', ns .. ':due', int(now() + delay), id)
    end
  end
end
for lane, line in pairs(lines) do call('ZADD', L .. lane, unpack(line)) end
return res
