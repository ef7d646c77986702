-- How jobs finish, and what follows along their edges until the budget is spent. What remains stays in `behind`.
local KEEP_AT_LEAST = 300000000
local budget, moved, finished = tonumber(ARGV[3]), 0, {}
local turn_to_come = {} -- ids of jobs among `finished` whose own edges have not been seen to

local has_behind
local function is_behind(id)
  if turn_to_come[id] then return true end
  if has_behind == nil then has_behind = call('EXISTS', ns .. 'behind') == 1 end
  return has_behind and call('ZSCORE', ns .. 'behind', id)
end
local function end_of_keep(keep) return int(now + math.max(keep, KEEP_AT_LEAST)) end
local function start_retention(id) -- once nobody needs it any more
  if call('EXISTS', ns .. 'kf:' .. id) == 1 or is_behind(id) then return end
  local v = call('HMGET', J .. id, 's', 'n', 'ke')
  if not v[1] or tonumber(v[1]) < SUCCEEDED then return end
  local at = end_of_keep(tonumber(v[3] or 0))
  call('HSET', J .. id, 'pu', at)
  put('ZADD', ns .. 'purge', at, struct.pack('>I7', v[2]) .. id)
end

local function follow(job)
  turn_to_come[job.id] = true
  finished[#finished + 1] = job
end

local function free_key(job)
  if not job.unique then return end
  local field = unique_field(job.task, job.unique)
  if call('HGET', ns .. 'u', field) == job.id then call('HDEL', ns .. 'u', field) end
end

local standing = {} -- marks of edges to these jobs, as far as they have been looked up
local function finish(job, state, keep, reason, result, settled)
  move(job, state)
  job.keep, job.more = keep, '1'
  local fields = {J .. job.id, 'm', 1, 's', state, 'fi', NOW, 'ke', int(keep), 're', reason}
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if settled then add('o', settled) end
  if result then add('r', result) end
  if not job.graph then
    local at = end_of_keep(keep)
    add('pu', at)
    put('ZADD', ns .. 'purge', at, member(job))
  end
  call('HSET', unpack(fields))
  free_key(job)
  ended[#ended + 1] = job.id
  standing[job.id] = nil
  if not job.graph then return end
  job.fresh = true -- its dependants are still those that are armed
  follow(job)
end
local REASON_CANCELLED, REASON_EXPIRED, REASON_PARENT, REASON_REPLACED, REASON_LOST, REASON_SKIPPED = 1, 2, 3, 4, 5, 6
local function cancel(job, reason) finish(job, CANCELLED, KEEP, reason) end

-- Edges. The mark is the digit of the state in which the parent ended, or '-'.
local function tally(id, kind, by)
  if call('HINCRBY', ns .. 'ta:' .. id, kind, by) == 0 then call('HDEL', ns .. 'ta:' .. id, kind) end
end
local function set_mark(id, parent, mark)
  local old = call('HGET', ns .. 'pa:' .. id, parent)
  if not old then return end -- it was deleted, and its parent has not heard of it yet
  local new = string.sub(old, 1, 1) .. mark
  if old == new then return end
  call('HSET', ns .. 'pa:' .. id, parent, new)
  tally(id, old, -1)
  tally(id, new, 1)
end

local function verdict_of(tallies) -- see windlass.core.graph.verdict
  local waiting, wants, saw, open = false, false, false, false
  for i = 1, #tallies, 2 do
    local policy, mark = string.match(tallies[i], '^(.)(.)$')
    if policy == '2' then
      wants = true
      open = open or mark == '-'
      saw = saw or mark == '5' or mark == '6'
    elseif mark == '-' then
      waiting = true
    elseif policy == '0' and mark ~= '4' then
      return 'cancel'
    end
  end
  if wants and not saw then
    if not open then return 'cancel' end
    waiting = true
  end
  return waiting and 'wait' or 'go'
end
local function verdict(id) return verdict_of(call('HGETALL', ns .. 'ta:' .. id)) end

local function make_later_or_ready(job)
  if job.due_at and job.due_at > now then make_scheduled(job) else make_ready(job) end
end
local function judge(id) -- let a waiting job go, or cancel it, if its edges say so
  if call('HGET', J .. id, 's') ~= '0' then return end
  local says = verdict(id)
  if says == 'wait' then return end
  local job = load(id)
  if says == 'cancel' then cancel(job, REASON_PARENT) else make_later_or_ready(job) end
end

local function hold_parent(id, parent, may_have_finished) -- keep it for an unfinished dependant
  call('SADD', ns .. 'un:' .. id, parent)
  call('SADD', ns .. 'kf:' .. parent, id)
  if not may_have_finished then return end
  local number = call('HGET', J .. parent, 'n')
  call('HDEL', J .. parent, 'pu')
  put('ZREM', ns .. 'purge', struct.pack('>I7', number) .. parent)
end

local known_to_have = {}
local function has_edges(parent) -- from now on: what a plain job does without is made up for
  if known_to_have[parent] then return end
  known_to_have[parent] = true
  if call('HSET', J .. parent, 'm', 1, 'g', 1) == 0 then return end
  is_not_plain_any_more(parent)
  local how, finished_at, purge_at = string.match(call('HGET', J .. parent, 'o') or '', '^(%d) (%d+) (%d+)$')
  if not how then return end
  call('HSET', J .. parent, 'o', how, 'fi', finished_at, 'pu', purge_at, 'ke', purge_at - finished_at)
end

local function add_link(id, parent, policy, mark, unfinished)
  call('HSET', ns .. 'pa:' .. id, parent, policy .. mark)
  tally(id, policy .. mark, 1)
  has_edges(id)
  has_edges(parent)
  call('ZADD', ns .. (mark == '-' and 'ar:' or 'mk:') .. parent, int(next_number()), id)
  if unfinished then hold_parent(id, parent, mark ~= '-') end
end

-- A dependant is judged once for all of its edges that were marked meanwhile.
local touched, changes = {}, {} -- ids, in order; by id, by how much its tallies change
local function mark(id, parent, state)
  local old = call('HGET', ns .. 'pa:' .. id, parent)
  if not old then return end -- it was deleted, and its parent has not heard of it yet
  local its = changes[id]
  if not its then
    its = {}
    changes[id] = its
    touched[#touched + 1] = id
  end
  local new = string.sub(old, 1, 1) .. state
  if old == new then return end
  call('HSET', ns .. 'pa:' .. id, parent, new)
  its[old] = (its[old] or 0) - 1
  its[new] = (its[new] or 0) + 1
end
local function judge_touched()
  local ids, by_id = touched, changes
  touched, changes = {}, {}
  for _, id in ipairs(ids) do
    for kind, by in pairs(by_id[id]) do
      if by ~= 0 then tally(id, kind, by) end
    end
    judge(id)
  end
end

local CHUNK = 100
local function mark_dependants(job)
  local marked = ns .. 'mk:' .. job.id
  while true do
    local key = ns .. (job.fresh and 'ar:' or 'mg:') .. job.id
    local room = math.min(budget - moved, CHUNK)
    local ids = call('ZRANGE', key, 0, room) -- one more than may be marked tells whether any are left
    if #ids == 0 then return true end
    local all = #ids <= room
    if not all then
      ids[#ids] = nil
      if job.fresh then
        call('RENAME', key, ns .. 'mg:' .. job.id)
        job.fresh, key = false, ns .. 'mg:' .. job.id
      end
      if room == 0 then return false end
    end
    local places = {}
    for i, id in ipairs(ids) do
      mark(id, job.id, job.state)
      places[2 * i - 1], places[2 * i] = int(next_number()), id
    end
    moved = moved + #ids
    if all then call('DEL', key) else call('ZREM', key, unpack(ids)) end
    call('ZADD', marked, unpack(places))
    if all then return true end
  end
end
local function close_parents(job)
  local key = ns .. 'un:' .. job.id
  while true do
    local room = math.min(budget - moved, CHUNK)
    if room == 0 then return call('EXISTS', key) == 0 end
    local parents = call('SPOP', key, room)
    moved = moved + #parents
    for _, parent in ipairs(parents) do
      call('SREM', ns .. 'kf:' .. parent, job.id)
      start_retention(parent)
    end
    if #parents < room then return true end
  end
end

local function leave_behind(from) -- those from this one on, for `release_edges`
  judge_touched() -- which may finish more
  for i = from, #finished do
    local job = finished[i]
    if job.fresh and call('EXISTS', ns .. 'ar:' .. job.id) == 1 then
      call('RENAME', ns .. 'ar:' .. job.id, ns .. 'mg:' .. job.id)
    end
    if not job.was_behind then call('ZADD', ns .. 'behind', int(next_number()), job.id) end
  end
end
local function cascade() -- answers whether something was left behind
  local i = 1
  while finished[i] do
    local job = finished[i]
    if not (mark_dependants(job) and close_parents(job)) then
      leave_behind(i)
      return true
    end
    turn_to_come[job.id] = nil
    if job.was_behind then call('ZREM', ns .. 'behind', job.id) end
    start_retention(job.id)
    i = i + 1
    if not finished[i] then judge_touched() end
  end
  finished = {}
  return false
end

local function give_back(job) -- nobody started it
  job.attempt = job.attempt - 1
  save_claim(job)
  if job.cancel_requested then finish(job, CANCELLED, KEEP, REASON_CANCELLED) else make_ready(job, true) end
end

-- Take a job that was deleted out of the lists of its parents, which `key` names, until the budget is spent; answers whether
-- that is done. (A new job may have its id by now, and edges of its own.)
local function unlink_parents(id, key)
  while call('EXISTS', key) == 1 do
    if moved >= budget then return false end
    local parents = call('HRANDFIELD', key, math.min(budget - moved, 100))
    for _, parent in ipairs(parents) do
      if call('HEXISTS', ns .. 'pa:' .. id, parent) == 0 then
        for _, kind in ipairs({'ar:', 'mg:', 'mk:'}) do call('ZREM', ns .. kind .. parent, id) end
      end
    end
    call('HDEL', key, unpack(parents))
    moved = moved + #parents
  end
  return true
end
local function remove_edges(job) -- those to its dependants stay with those
  local id, links = job.id, ns .. 'pa:' .. job.id
  if call('EXISTS', links) == 1 then
    local rest = ns .. 'rm:' .. member(job)
    call('RENAME', links, rest)
    if not unlink_parents(id, rest) then call('ZADD', ns .. 'removed', job.number, member(job)) end
  end
  call('UNLINK', ns .. 'ta:' .. id, ns .. 'un:' .. id, ns .. 'ar:' .. id, ns .. 'mg:' .. id, ns .. 'mk:' .. id,
    ns .. 'kf:' .. id)
end

local function remove(job) -- a finished job
  local id = job.id
  if job.graph then remove_edges(job) end
  call('DEL', J .. id, ns .. 'p:' .. id, ns .. 'e:' .. id, ns .. 'g:' .. id)
  put('ZREM', ns .. 'ids', id)
  put('ZREM', ns .. 'purge', member(job))
  count(job.state .. job.queue, -1)
end
