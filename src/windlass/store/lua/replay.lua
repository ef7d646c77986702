#!lua flags=allow-oom
-- KEYS namespace   ARGV head (see _common, _write), edges after which no other job is begun, ids
-- -> per job, as far as it came: 0 replayed, 1 not dead, 2 key held, 3 unknown
--!include _common _write _job _finish
local armed = 0

local function takes_key(job) -- again, if it has not given it up for good
  if not job.unique or job.gave_up then return true end
  local field = unique_field(job.task, job.unique)
  return call('HSETNX', ns .. 'u', field, job.id) == 1 or call('HGET', ns .. 'u', field) == job.id
end

-- Let its next end be marked on its edges to dependants, those that still wait for others included.
local function rearm_dependants(job)
  call('ZREM', ns .. 'behind', job.id)
  local mg, mk, ar = ns .. 'mg:' .. job.id, ns .. 'mk:' .. job.id, ns .. 'ar:' .. job.id
  for _, id in ipairs(call('ZRANGE', mg, 0, -1)) do call('ZADD', ar, 'NX', next_number(), id) end
  call('DEL', mg)
  for _, id in ipairs(call('ZRANGE', mk, 0, -1)) do
    armed = armed + 1
    if call('HGET', J .. id, 's') == '0' then
      set_mark(id, job.id, '-')
      call('ZREM', mk, id)
      call('ZADD', ar, 'NX', next_number(), id)
    end
  end
end

-- Mark its own edges as their parents stand now. One that its parent's end does not satisfy waits for another end: a replay.
local function rearm_parents(job)
  local links = call('HGETALL', ns .. 'pa:' .. job.id)
  for i = 1, #links, 2 do
    local parent, policy = links[i], string.sub(links[i + 1], 1, 1)
    local state = call('HGET', J .. parent, 's')
    armed = armed + 1
    if state then -- else the edge keeps the mark that it had
      local satisfies = state == '4' or policy ~= '0'
      local mark = tonumber(state) >= SUCCEEDED and satisfies and state or '-'
      for _, kind in ipairs({'ar:', 'mg:', 'mk:'}) do call('ZREM', ns .. kind .. parent, job.id) end
      call('ZADD', ns .. (mark == '-' and 'ar:' or 'mk:') .. parent, next_number(), job.id)
      set_mark(job.id, parent, mark)
      hold_parent(job.id, parent, true)
    end
  end
end
local function has_open_parents(id)
  for _, kind in ipairs(call('HKEYS', ns .. 'ta:' .. id)) do
    if string.sub(kind, 2) == '-' then return true end
  end
  return false
end

local function replay_one(job)
  if not job then return 3 end
  if job.state ~= DEAD and job.state ~= CANCELLED then return 1 end
  if not takes_key(job) then return 2 end
  local waits = false
  if job.graph then
    rearm_dependants(job)
    rearm_parents(job)
    waits = has_open_parents(job.id) and verdict(job.id) ~= 'go'
  end
  unset(job, 'f', 'x', 'z', 'y', 'cr', 're', 'd', 'e', 'u', 'fi', 'pu', 'r', 'pr', 'ms')
  call('DEL', ns .. 'g:' .. job.id)
  leave(job)
  job.expires_at, job.suspect, job.due_at = false, false, false
  if waits then
    job.state = WAITING
    enter(job)
    set(job, 's', WAITING)
    return 0
  end
  job.state = READY
  job.sequence = next_number()
  enter(job)
  set(job, 's', READY, 'w', job.sequence)
  became_ready(job.lane, 1)
  return 0
end

local answers = {}
for i = 7, #ARGV do
  if i > 7 and armed > tonumber(ARGV[6]) then break end
  answers[i - 6] = replay_one(load(ARGV[i]))
end
done()
return answers
