-- How jobs finish, and what follows along their edges until the budget is spent. What remains stays in `behind`.
local KEEP_AT_LEAST = 300000000
local budget, moved, finished = tonumber(ARGV[3]), 0, {}

local function start_retention(job) -- once nobody needs it any more
  if not job or job.state < SUCCEEDED or call('EXISTS', ns .. 'kf:' .. job.id) == 1 then return end
  if call('ZSCORE', ns .. 'behind', job.id) then return end
  local at = now + math.max(job.keep, KEEP_AT_LEAST)
  set(job, 'pu', at)
  put('ZADD', ns .. 'purge', at, member(job))
end

local function follow(job)
  call('ZADD', ns .. 'behind', next_number(), job.id)
  finished[#finished + 1] = job
end

local function free_key(job)
  if not job.unique then return end
  local field = unique_field(job.task, job.unique)
  if call('HGET', ns .. 'u', field) == job.id then call('HDEL', ns .. 'u', field) end
end

local function finish(job, state, keep, reason, result)
  move(job, state)
  job.keep = keep
  set_more(job, 's', state, 'fi', now, 'ke', keep, 're', reason)
  if result then set(job, 'r', result) end
  free_key(job)
  ended[#ended + 1] = job.id
  if not job.graph then return start_retention(job) end
  if call('EXISTS', ns .. 'ar:' .. job.id) == 1 then call('RENAME', ns .. 'ar:' .. job.id, ns .. 'mg:' .. job.id) end
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

local function hold_parent(id, parent) -- keep it for an unfinished dependant
  call('SADD', ns .. 'un:' .. id, parent)
  call('SADD', ns .. 'kf:' .. parent, id)
  local number = call('HGET', J .. parent, 'n')
  call('HDEL', J .. parent, 'pu')
  put('ZREM', ns .. 'purge', struct.pack('>I7', number) .. parent)
end
local function close_edge(id, parent)
  call('SREM', ns .. 'un:' .. id, parent)
  call('SREM', ns .. 'kf:' .. parent, id)
  start_retention(load(parent))
end

local function has_edges(parent) -- from now on: what a plain job does without is made up for
  if call('HSET', J .. parent, 'm', 1, 'g', 1) == 0 then return end
  is_not_plain_any_more(parent)
  local how, finished_at, purge_at = string.match(call('HGET', J .. parent, 'o') or '', '^(%d) (%d+) (%d+)$')
  if not how then return end
  call('HSET', J .. parent, 'o', how, 'fi', finished_at, 'pu', purge_at, 'ke', purge_at - finished_at)
end

local function add_link(id, parent, policy, mark, unfinished)
  call('HSET', ns .. 'pa:' .. id, parent, policy .. mark)
  tally(id, policy .. mark, 1)
  call('HSET', J .. id, 'm', 1, 'g', 1)
  has_edges(parent)
  call('ZADD', ns .. (mark == '-' and 'ar:' or 'mk:') .. parent, next_number(), id)
  if unfinished then hold_parent(id, parent) end
end

local function mark_dependants(job)
  local key = ns .. 'mg:' .. job.id
  while true do
    local ids = call('ZRANGE', key, 0, math.min(budget - moved, 100) - (budget > moved and 1 or 0))
    if #ids == 0 then return true end
    for _, id in ipairs(ids) do
      if moved >= budget then return false end
      moved = moved + 1
      call('ZREM', key, id)
      call('ZADD', ns .. 'mk:' .. job.id, next_number(), id)
      set_mark(id, job.id, job.state)
      judge(id)
    end
  end
end
local function close_parents(job)
  local key = ns .. 'un:' .. job.id
  while true do
    local parent = call('SRANDMEMBER', key)
    if not parent then return true end
    if moved >= budget then return false end
    moved = moved + 1
    close_edge(job.id, parent)
  end
end

local function cascade() -- answers whether something was left behind
  local i = 1
  while finished[i] do
    local job = finished[i]
    if not (mark_dependants(job) and close_parents(job)) then return true end
    call('ZREM', ns .. 'behind', job.id)
    start_retention(job)
    i = i + 1
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
