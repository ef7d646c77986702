-- Claims up to `limit` jobs from `lanes` (first lane first) for a session that was checked; appends to `out` per job:
-- Stops at the first job that starts beyond `bytes` of payload, so one job always comes.
-- id, token, task, payload, failures, losses, given back.
local function refuse(session, request)
  local s = call('HMGET', S .. session, 'v', 'q')
  if not s[2] then return 'unknown' end
  if s[1] then return 'revoked' end
  if request <= tonumber(s[2]) then return 'late' end
end
local function take(session, request, limit, bytes, lanes, out)
  local holds = {}
  call('HSET', S .. session, 'q', request)
  for _, lane in ipairs(lanes) do
    if limit == 0 or bytes <= 0 then break end
    local got = call('ZPOPMIN', L .. lane, limit)
    for i = 1, #got, 2 do
      if bytes <= 0 then -- the rest goes back: a pop and a push are cheaper than looking at sizes first
        local rest = {}
        for k = i, #got, 2 do
          rest[#rest + 1] = got[k + 1]
          rest[#rest + 1] = got[k]
        end
        call('ZADD', L .. lane, unpack(rest))
        break
      end
      local id, n = got[i], #out
      local v = call('HMGET', J .. id, 't', 'k', 'p', 'f', 'x', 'b', 'm')
      local token = int((v[1] or 0) + 1)
      call('HSET', J .. id, 't', token, 's', 'running')
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = id, token, v[2], v[3]
      out[n + 5], out[n + 6], out[n + 7] = v[4] or '0', v[5] or '0', v[6] or '0'
      bytes = bytes - #v[3]
      holds[#holds + 1] = id
      holds[#holds + 1] = token .. ' ' .. request .. ' ' .. got[i + 1] .. ' ' .. (v[7] and 1 or 0) .. ' ' .. lane
    end
    limit = limit - #got / 2
  end
  if #holds > 0 then call('HSET', H .. session, unpack(holds)) end
  return out
end
