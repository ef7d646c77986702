#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), session, number of settlements, then for each: id, token, outcome digit followed by d if
--   there is data and by n if it was not started, data (result or error), retention, delay; then, if there is a claim, it
--   (see _walk)
-- -> {a digit per settlement: 0 applied, 1 already, 2 lost; 1 if edges were left behind, else 0; the claim's answer or false}
--!include _common _write _job _limits _claim+_walk _edges _finish
local SUCCEED, RETRY, DIE, SNOOZE, RELEASE, ACKNOWLEDGE, UNDELIVERABLE = '1', '2', '3', '4', '5', '6', '7'
local MAX_ERRORS = 10
local settler, n, answers = ARGV[6], tonumber(ARGV[7]), {}

-- A plain job, of which the record of what the session holds says all that is needed.
local places, ends = {}, {} -- how many of each lane and task; what is written for each retention
local function end_of(keep)
  local at = end_of_keep(tonumber(keep))
  ends[keep] = {at, SUCCEED .. ' ' .. NOW .. ' ' .. at}
  return ends[keep]
end
local function succeed(id, number, place, keep, result)
  local fate = ends[keep] or end_of(keep)
  places[place] = (places[place] or 0) + 1
  if result then
    call('HSET', J .. id, 's', '4', 'o', fate[2], 'r', result)
    results[id] = result
  else
    call('HSET', J .. id, 's', '4', 'o', fate[2])
  end
  put('ZADD', ns .. 'purge', fate[1], struct.pack('>I7', number) .. id)
  put('HDEL', ns .. 'h:' .. settler, id)
  ended[#ended + 1] = id
end
-- A job of which the record says that edges are all that is left to see to.
local function succeed_with_edges(id, number, place, keep, result)
  places[place] = (places[place] or 0) + 1
  local v = call('HMGET', J .. id, 'dn', 'en', 'pl', 'pm', 'dl')
  if result then
    call('HSET', J .. id, 's', '4', 'o', SUCCEED, 'fi', NOW, 'ke', keep, 'r', result)
    results[id] = result
  else
    call('HSET', J .. id, 's', '4', 'o', SUCCEED, 'fi', NOW, 'ke', keep)
  end
  put('HDEL', ns .. 'h:' .. settler, id)
  ended[#ended + 1] = id
  known[id] = {state = SUCCEEDED, number = number, keep = keep + 0, dependants = v[1] and v[1] + 0, graph = '1'}
  local all_marked = not v[1] -- who counts no dependants never had any
  follow({
    id = id, state = SUCCEEDED, needs = v[2], parents = v[3], letters = v[4], list = v[5], all_marked = all_marked,
  })
end
local function count_successes()
  for place, number in pairs(places) do
    local lane, task = string.match(place, '^(.*%z.*)%z(.*)$')
    local queue = queue_of(lane)
    count(RUNNING, queue, -number)
    count(SUCCEEDED, queue, number)
    count_starts(queue, task, nil, -number)
    holders[settler] = true
    if limited() then makes_room = true end
  end
end

local function count_end(job, outcome, started)
  if outcome == RETRY or outcome == DIE then
    job.failures = job.failures + 1
    set_more(job, 'f', job.failures)
  elseif outcome == SNOOZE then
    job.snoozes = job.snoozes + 1
    set_more(job, 'z', job.snoozes)
  elseif outcome == UNDELIVERABLE or (outcome == RELEASE and not started) then
    job.attempt = job.attempt - 1
    save_claim(job)
  end
  if outcome == UNDELIVERABLE and not job.undeliverable then set_more(job, 'u', now) end
end

local function keep_error(job, error_)
  local key = ns .. 'e:' .. job.id
  call('RPUSH', key, error_)
  call('LTRIM', key, -MAX_ERRORS, -1)
end

local FINAL = {[SUCCEED] = SUCCEEDED, [DIE] = DEAD, [ACKNOWLEDGE] = CANCELLED}
local function apply(job, outcome, started, data, keep, delay)
  count_end(job, outcome, started)
  if data and outcome ~= SUCCEED then keep_error(job, data) end
  local state = FINAL[outcome]
  if job.cancel_requested and outcome ~= SUCCEED then state = CANCELLED end
  if state then -- what was not meant to be final says nothing of its retention
    local result = state == SUCCEEDED and data or nil
    finish(job, state, FINAL[outcome] and keep or KEEP, state == CANCELLED and REASON_CANCELLED or 0, result, outcome)
    return
  end
  set(job, 'o', outcome)
  local unstarted = outcome == UNDELIVERABLE or (outcome == RELEASE and not started)
  if job.undeliverable and not unstarted then unset(job, 'u') end
  if outcome == RELEASE then
    make_ready(job, true)
  elseif delay > 0 then
    job.due_at = now + delay
    make_scheduled(job)
  else
    make_ready(job)
  end
end

local function settle_one(at, held)
  local id, token, what = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if held and (what == '1d' or what == '1') then
    local its_token, edges, number, place = string.match(held, '^%d+ (%d+) (e?)(%d+) (.*)$')
    if its_token == token then
      local success = edges == 'e' and succeed_with_edges or succeed
      success(id, number, place, ARGV[at + 4], what == '1d' and ARGV[at + 3])
      return '0'
    end
  end
  local outcome, has_data = string.sub(what, 1, 1), string.sub(what, 2, 2) == 'd'
  local keep, data = tonumber(ARGV[at + 4]), has_data and ARGV[at + 3] or nil
  local job = load(id)
  if not job or job.session ~= settler or job.token ~= token then return '2' end
  if job.state ~= RUNNING then return job.settled == outcome and '1' or '2' end
  apply(job, outcome, not string.find(what, 'n', 1, true), data, keep, tonumber(ARGV[at + 5]))
  return '0'
end

local ids = {}
for i = 1, n do ids[i] = ARGV[8 + (i - 1) * 6] end
local held = n > 0 and call('HMGET', ns .. 'h:' .. settler, unpack(ids)) or {}
for i = 1, n do answers[i] = settle_one(8 + (i - 1) * 6, held[i]) end
count_successes()
local more_edges = cascade()
local answer = false
local at = 8 + n * 6
if ARGV[at] then
  sync_all() -- what the claim takes on is counted with what has ended
  answer = claim(at)
end
done()
return {table.concat(answers), more_edges and 1 or 0, answer}
