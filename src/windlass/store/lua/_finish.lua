-- How jobs finish, and what follows along their edges until the budget is spent. What remains stays in `behind`.
local budget, moved, finished = tonumber(ARGV[3]), 0, {}

local function follow(job)
  turn_to_come[job.id] = true
  finished[#finished + 1] = job
end

local function free_key(job)
  if not job.unique then return end
  local field = unique_field(job.task, job.unique)
  if call('HGET', ns .. 'u', field) == job.id then call('HDEL', ns .. 'u', field) end
end

local function finish(job, state, keep, reason, result, settled)
  write_hold_of(job.id) -- the call may have added dependants
  move(job, state)
  job.keep, job.more = keep, '1'
  local fields = {J .. job.id, 'm', 1, 's', state, 'fi', NOW, 'ke', whole(keep), 're', reason}
  local function add(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if settled then add('o', settled) end
  if result then add('r', result) end
  if job.graph then
    job.marks_end = whole(last_number())
    add('me', job.marks_end)
  else
    local at = end_of_keep(keep)
    add('pu', at)
    put('ZADD', ns .. 'purge', at, member(job))
  end
  call('HSET', unpack(fields))
  free_key(job)
  ended[#ended + 1] = job.id
  known[job.id] = nil
  if job.graph then follow(job) end
end
local REASON_CANCELLED, REASON_EXPIRED, REASON_PARENT, REASON_REPLACED, REASON_LOST, REASON_SKIPPED = 1, 2, 3, 4, 5, 6
local function cancel(job, reason) finish(job, CANCELLED, KEEP, reason) end

local function make_later_or_ready(job)
  if job.due_at and job.due_at > now then make_scheduled(job) else make_ready(job) end
end
local function judge(id) -- let a waiting job go, or cancel it, if its edges say so
  local job = load(id)
  if not job or job.state ~= WAITING then return end
  local says = verdict(edges_of(job.needs, job.rest))
  if says == 'cancel' then cancel(job, REASON_PARENT) elseif says == 'go' then make_later_or_ready(job) end
end

-- A dependant is read, judged and written once for all of its edges whose parents ended meanwhile.
local touched, ends = {}, {} -- ids, in order; by id, parents that ended and their states, in turn
local function note_end(id, parent, state)
  local its = ends[id]
  if not its then
    its = {}
    ends[id] = its
    touched[#touched + 1] = id
  end
  its[#its + 1] = parent
  its[#its + 1] = state
end
local function change_mark(edges, policy, old, new)
  count_edge(edges, policy, old, -1)
  count_edge(edges, policy, new, 1)
end
local function mark_few(its, edges, ids, all) -- answers the letters, if they changed
  local changed = nil
  for i = 1, #its, 2 do
    local at, mark = place_in(ids, its[i]), its[i + 1]
    if at then -- else it was deleted, and its parent has not heard of it yet
      local policy, old, held = letters_at(all, at)
      if old ~= mark then
        change_mark(edges, policy, old, mark)
        all = with_letters(all, at, policy .. mark .. held)
        changed = all
      end
    end
  end
  return changed
end
local function mark_many(its, edges, key)
  local parents, changed = {}, nil
  for i = 1, #its, 2 do parents[#parents + 1] = its[i] end
  sync(key)
  for i, letters in ipairs(call('HMGET', key, unpack(parents))) do
    local policy, old, held = letters_at(letters or '', 0)
    local mark = its[2 * i]
    if policy and old ~= mark then
      change_mark(edges, policy, old, mark)
      put('HSET', key, parents[i], policy .. mark .. held)
      changed = ''
    end
  end
  return changed
end
local function release(id, v, letters) -- what waits for nothing but its parents: all of `make_ready` that this takes
  local number, lane, sequence = v[8], v[6], next_number()
  local queue = queue_of(lane)
  count(WAITING, queue, -1)
  count(READY, queue, 1)
  count_lane(lane, 1)
  put('ZREM', ns .. 'waiting', id)
  put('ZADD', ns .. 'o:' .. queue, number, id)
  put('ZADD', ns .. 'l:' .. lane, whole(position(v[7], sequence)), id)
  if letters == '' then
    call('HSET', J .. id, 's', '2', 'w', whole(sequence), 'en', '0')
  else
    call('HSET', J .. id, 's', '2', 'w', whole(sequence), 'en', '0', 'pm', letters)
  end
  became_ready(lane, 1)
end
local function mark_and_judge(id, its)
  local v = call('HMGET', J .. id, 's', 'm', 'en', 'ex', 'k', 'q', 'i', 'n', 'pl', 'pm')
  if not v[1] then return end
  local edges = edges_of(v[3], v[4])
  local letters = v[9] and mark_few(its, edges, v[9], v[10]) or not v[9] and mark_many(its, edges, parents_key(id))
  if not letters then return end
  local simple = v[1] == '0' and v[2] == 'e' and not v[4] and edges.broken == 0
  if simple and edges.needs == 0 then return release(id, v, letters) end
  edges.had_rest = v[4]
  save_edges(id, edges, letters)
  if v[1] == '0' and not simple then judge(id) end
end
local function judge_touched()
  local ids, by_id = touched, ends
  touched, ends = {}, {}
  for _, id in ipairs(ids) do mark_and_judge(id, by_id[id]) end
end

-- A job's dependants are marked in the order of their places, from the one up to which they are marked to that of its end.
local CHUNK = 100
local function mark_listed(job, list)
  for at = 1, #list, 16 do note_end(string.sub(list, at, at + 15), job.id, MARKS[job.state]) end
  moved = moved + #list / 16
  job.all_marked = true
  return true
end
local function mark_dependants(job)
  local key = dependants_key(job.id)
  if job.list == nil and not job.marked_to then job.list = call('HGET', J .. job.id, 'dl') end
  if job.list then
    if #job.list / 16 <= budget - moved then return mark_listed(job, job.list) end
    spread(job.id, job)
  end
  sync(key)
  while true do
    local room = math.min(budget - moved, CHUNK)
    -- One more than may be marked tells whether any are left.
    local ids = call('ZRANGEBYSCORE', key, '(' .. (job.marked_to or MARKED), job.marks_end or '+inf', 'LIMIT', '0', room + 1)
    local all = #ids <= room
    if not all then ids[#ids] = nil end
    for _, id in ipairs(ids) do note_end(id, job.id, MARKS[job.state]) end
    moved = moved + #ids
    if all then
      job.all_marked = true
      return true
    end
    if room == 0 then return false end
    job.marked_to = call('ZSCORE', key, ids[#ids])
  end
end

-- Its own parents are let go. Which of them were is written only if that is not all of them.
local function close_few(job)
  local parents, letters = job.parents, job.letters
  for at = 0, #parents / 16 - 1 do
    if string.sub(letters, at * 3 + 3, at * 3 + 3) == 'h' then
      if moved == budget then
        local let_go = string.gsub(string.sub(letters, 1, at * 3), 'h', 'c')
        call('HSET', J .. job.id, 'pm', let_go .. string.sub(letters, at * 3 + 1))
        return false
      end
      hold(string.sub(parents, at * 16 + 1, at * 16 + 16), -1)
      moved = moved + 1
    end
  end
  return true
end
local function close_some(job, room) -- of many: a part of the hash, in whose walk one may come twice; answers whether that is done
  local key, let_go = parents_key(job.id), {}
  sync(key)
  local page = call('HSCAN', key, job.closed_to or '0', 'COUNT', math.max(room, 1))
  local fields, all = page[2], true
  for i = 1, #fields, 2 do
    local policy, mark, held = letters_at(fields[i + 1], 0)
    if held == 'h' then
      if #let_go == 2 * room then
        all = false
        break
      end
      hold(fields[i], -1)
      let_go[#let_go + 1] = fields[i]
      let_go[#let_go + 1] = policy .. mark .. 'c'
    end
  end
  moved = moved + #let_go / 2
  if all then
    job.closed_to = page[1]
    if page[1] == '0' then return true end
  end
  for i = 1, #let_go, 2 do put('HSET', key, let_go[i], let_go[i + 1]) end
  return all
end
local function close_parents(job)
  if not job.needs then return true end -- it never had any
  if job.parents then return close_few(job) end
  repeat
    local all = close_some(job, math.min(budget - moved, CHUNK))
    if not all then return false end
  until job.closed_to == '0'
  return true
end

local function leave_behind(from) -- those from this one on, for `release_edges`
  judge_touched() -- which may finish more
  for i = from, #finished do
    local job = finished[i]
    if job.all_marked then job.marked_to = job.marks_end or whole(last_number()) end
    if job.marked_to then call('HSET', J .. job.id, 'mt', job.marked_to) end
    if job.closed_to then call('HSET', J .. job.id, 'ct', job.closed_to) end
    if not job.was_behind then call('ZADD', ns .. 'behind', whole(next_number()), job.id) end
  end
  behind = nil
end
local function cascade() -- answers whether something was left behind
  local i, left = 1, false
  while finished[i] and not left do
    local job = finished[i]
    if (job.all_marked or mark_dependants(job)) and close_parents(job) then
      turn_to_come[job.id] = nil
      if job.was_behind then
        call('ZREM', ns .. 'behind', job.id)
        behind = nil
        call('HDEL', J .. job.id, 'mt', 'ct')
      end
      hold(job.id, 0)
      i = i + 1
      if not finished[i] then judge_touched() end
    else
      leave_behind(i)
      left = true
    end
  end
  finished = {}
  write_holds()
  return left
end
