-- The lives of sessions.
local function life_of(session)
  local v = call('HMGET', ns .. 's:' .. session, 'o', 'l', 'u', 'n', 'v', 'w')
  if not v[1] then return nil end
  return {lease = tonumber(v[2]), until_ = tonumber(v[3]), renewals = tonumber(v[4]), revoked = v[5], lanes = v[6]}
end
local function is_alive(life) return life and not life.revoked and life.until_ > now end

local function forget(session)
  expect_none(session, call('HGET', ns .. 's:' .. session, 'i'))
  call('DEL', ns .. 's:' .. session, ns .. 'c:' .. session)
  call('ZREM', ns .. 'sessions', session)
  if call('HGET', ns .. 'duty', 'h') == session then call('DEL', ns .. 'duty') end
end
