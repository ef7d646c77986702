-- A schedule as it is read: name, version, definition, paused (1 or 0), next, last, jobs, skipped, last job, changed at; nothing
-- where there is none. Nothing is left of one that was deleted but its version and its last fire time (g: when it was deleted).
local function schedule_key(name) return ns .. 'S:' .. name end
local function read_schedule(name)
  local v = call('HMGET', schedule_key(name), 'v', 'd', 'p', 'n', 'l', 'f', 'k', 'j', 'c', 'g')
  if not v[1] or v[10] then return false end
  return {name, v[1], v[2], v[3], v[4] or '', v[5] or '', v[6] or '0', v[7] or '0', v[8] or '', v[9]}
end
