-- A job and the indexes that say where it is. `move` keeps them so.
local CLAIM = '^(%d+) (%d+) (%d+) (%d+) (.*)$'
local function load(id)
  local v = call('HMGET', J .. id, 's', 'k', 'q', 'i', 'n', 'w', 'c', 'o', 'm')
  if not v[1] then return nil end
  local number = tonumber(v[5])
  local job = {
    id = id, state = tonumber(v[1]), task = v[2], lane = v[3], queue = queue_of(v[3]), priority = tonumber(v[4]),
    number = number, sequence = not v[6] and number or (v[6] ~= '0' and tonumber(v[6])), token = '0', attempt = 0,
    request = 0, settled = v[8] and string.sub(v[8], 1, 1), more = v[9], failures = 0, losses = 0, snoozes = 0, keep = 0,
  }
  if v[7] then
    local token, attempt, request, started, session = string.match(v[7], CLAIM)
    job.token, job.attempt, job.request = token, tonumber(attempt), tonumber(request)
    job.started, job.session = started, session
  end
  if not v[9] then return job end
  v = call('HMGET', J .. id, 'f', 'x', 'z', 'y', 'cr', 'u', 'd', 'e', 'g', 'uk', 'uu', 'ug', 'lk', 'ke', 'dn', 'en', 'ex',
    'pl', 'pm')
  job.failures, job.losses, job.snoozes = tonumber(v[1] or 0), tonumber(v[2] or 0), tonumber(v[3] or 0)
  job.suspect, job.cancel_requested, job.undeliverable = v[4], v[5], v[6]
  job.due_at, job.expires_at = v[7] and tonumber(v[7]), v[8] and tonumber(v[8])
  job.graph, job.unique, job.until_, job.gave_up, job.limit_key = v[9], v[10], v[11], v[12], v[13]
  job.keep, job.dependants, job.needs, job.rest = tonumber(v[14] or 0), tonumber(v[15] or 0), v[16], v[17]
  job.parents, job.letters = v[18], v[19]
  return job
end

local function set(job, ...) call('HSET', J .. job.id, ...) end
local function set_more(job, ...) -- what a plain job has not
  call('HSET', J .. job.id, 'm', 1, ...)
  job.more = '1'
end
local function save_claim(job)
  set(job, 'c', job.token .. ' ' .. job.attempt .. ' ' .. int(job.request) .. ' ' .. job.started .. ' ' .. job.session)
end
local function unset(job, ...) call('HDEL', J .. job.id, ...) end
local function member(job) return struct.pack('>I7', job.number) .. job.id end
local function place_of(job) return position(job.priority, job.sequence) end
local function is_expired(job) return job.attempt == 0 and job.expires_at and job.expires_at <= now end
local function unique_field(task, key) return #task .. ':' .. task .. key end

-- Lines of limit keys. A line is priority:length of the task:task key.
local function line_of(job) return job.priority .. ':' .. #job.task .. ':' .. job.task .. job.limit_key end
local function parts_of(line)
  local length, rest = string.match(line, '^%d:(%d+):(.*)$')
  return string.sub(rest, 1, tonumber(length)), string.sub(rest, length + 1)
end
local function line_key(lane, line) return ns .. 'K:' .. lane .. '\0' .. line end
local function rotation(lane, task) return ns .. 'L:' .. lane .. '\0' .. task end
local function barred_name(lane, line) return #lane .. ':' .. lane .. line end

-- A line stands by its last turn or, before the first, by its first job; not at all while it is barred.
local function place_line(lane, line)
  if call('HEXISTS', ns .. 'b:' .. lane, line) == 1 then return end
  local place = call('HGET', ns .. 'T:' .. lane, line) or call('ZRANGE', line_key(lane, line), 0, 0, 'WITHSCORES')[2]
  call('ZADD', rotation(lane, (parts_of(line))), place, line)
end
local function forget_bar(lane, line)
  local _, key = parts_of(line)
  call('SREM', ns .. 'bk:' .. key, barred_name(lane, line))
  call('HDEL', ns .. 'b:' .. lane, line)
  call('ZREM', ns .. 'bv:' .. lane, line)
  call('ZREM', ns .. 'bu:' .. lane, line)
end
local function reopen(lane, line) -- let it have its old place again
  if call('HEXISTS', ns .. 'b:' .. lane, line) == 0 then return end
  forget_bar(lane, line)
  place_line(lane, line)
end
local function reopen_lines_of(key)
  local lines = call('SMEMBERS', ns .. 'bk:' .. key)
  for _, name in ipairs(lines) do
    local length, rest = string.match(name, '^(%d+):(.*)$')
    reopen(string.sub(rest, 1, tonumber(length)), string.sub(rest, length + 1))
  end
  if #lines > 0 then call('DEL', ns .. 'bk:' .. key) end
end

local function join_line(job)
  local line = line_of(job)
  call('ZADD', line_key(job.lane, line), place_of(job), job.id)
  call('SADD', ns .. 'k:' .. job.lane, 'k' .. job.task)
  place_line(job.lane, line)
end
local function leave_line(job)
  local line = line_of(job)
  local key = line_key(job.lane, line)
  call('ZREM', key, job.id)
  if call('EXISTS', key) == 1 then return place_line(job.lane, line) end
  call('ZREM', rotation(job.lane, job.task), line)
  call('HDEL', ns .. 'T:' .. job.lane, line)
  if call('HEXISTS', ns .. 'b:' .. job.lane, line) == 1 then forget_bar(job.lane, line) end
end

-- Ready jobs.
local function out_of_order(job) return job.suspect or job.limit_key or job.sequence ~= job.number end
local function join_lane(job)
  count_lane(job.lane, 1)
  if out_of_order(job) then put('ZADD', ns .. 'o:' .. job.queue, whole(job.number), job.id) end
  if job.suspect then
    count('x', job.queue, 1)
    put('ZADD', ns .. 'x:' .. job.lane, place_of(job), job.id)
  elseif job.limit_key then
    join_line(job)
  else
    put('ZADD', ns .. 'l:' .. job.lane, whole(place_of(job)), job.id)
  end
end
local function left_lane(job) -- all but its place in its line
  count_lane(job.lane, -1)
  if out_of_order(job) then put('ZREM', ns .. 'o:' .. job.queue, job.id) end
  if job.suspect then count('x', job.queue, -1) end
end
local function leave_lane(job)
  left_lane(job)
  if job.suspect then
    put('ZREM', ns .. 'x:' .. job.lane, job.id)
  elseif job.limit_key then
    leave_line(job)
  else
    put('ZREM', ns .. 'l:' .. job.lane, job.id)
    if call('EXISTS', ns .. 'k:' .. job.lane) == 1 then
      call('ZREM', ns .. 'a:' .. job.lane .. '\0' .. job.task, job.id)
      call('ZREM', ns .. 'z:' .. job.lane, job.id)
    end
  end
end

-- What runs.
local function count_starts(queue, task, limit_key, by)
  count_running('0' .. queue, by)
  count_running('1' .. task, by)
  if limit_key then count_running('2' .. limit_key, by) end
end
local function stop(job)
  count_starts(job.queue, job.task, job.limit_key, -1)
  holders[job.session] = true
  put('HDEL', ns .. 'h:' .. job.session, job.id)
  if limited() then makes_room = true end
  if job.limit_key then reopen_lines_of(job.limit_key) end
end
local function is_not_plain_any_more(id) -- which who settles it, if it runs, has to know
  local session = string.match(call('HGET', J .. id, 'c') or '', '^%d+ %d+ %d+ %d+ (.*)$')
  local held = session and call('HGET', ns .. 'h:' .. session, id)
  if held then call('HSET', ns .. 'h:' .. session, id, string.match(held, '^%d+ %d+')) end
end

-- What a session holds, in the order in which it was claimed: {order, id}, with orders from `first` to `last`.
local function held_by(session, first, last)
  local found, all = {}, call('HGETALL', ns .. 'h:' .. session)
  for i = 1, #all, 2 do
    local order = tonumber(string.match(all[i + 1], '^%d+'))
    if order >= first and order <= last then found[#found + 1] = {order, all[i]} end
  end
  table.sort(found, function(one, other) return one[1] < other[1] end)
  return found
end

local function leave(job)
  local state = job.state
  count(state, job.queue, -1)
  if job.expires_at and state < RUNNING then put('ZREM', ns .. 'expiring', member(job)) end
  if state == READY then leave_lane(job)
  elseif state == RUNNING then stop(job)
  elseif state == SCHEDULED then put('ZREM', ns .. 'due', member(job))
  elseif state == WAITING then put('ZREM', ns .. 'waiting', job.id)
  else put('ZREM', ns .. 'purge', member(job)) end
end
local function enter(job) -- never RUNNING: that is for claims
  local state = job.state
  count(state, job.queue, 1)
  if state == READY then join_lane(job)
  elseif state == SCHEDULED then put('ZADD', ns .. 'due', job.due_at, member(job))
  elseif state == WAITING then put('ZADD', ns .. 'waiting', whole(job.number), job.id) end
  if job.expires_at and state < RUNNING and job.attempt == 0 then
    put('ZADD', ns .. 'expiring', job.expires_at, member(job))
  end
end
local function move(job, state)
  leave(job)
  job.state = state
  enter(job)
end

local function make_ready(job, old_position)
  leave(job)
  if not old_position then job.sequence = next_number() end
  job.state = READY
  enter(job)
  set(job, 's', READY, 'w', job.sequence)
  became_ready(job.lane, job.undeliverable and math.huge or 1) -- some cannot run it: all are told
end
local function make_scheduled(job)
  sync(ns .. 'due')
  local first = call('ZRANGE', ns .. 'due', 0, 0, 'WITHSCORES')
  if not first[1] or job.due_at < tonumber(first[2]) then due_earlier = true end
  leave(job)
  job.sequence, job.state = false, SCHEDULED
  enter(job)
  set_more(job, 's', SCHEDULED, 'w', 0, 'd', job.due_at)
end
