-- What every verb that writes shares: numbers, counts, hints, and writes that are put off so that many go in one command.
-- ARGV[3] edges that the call may move, ARGV[4] retention of what the store itself ends, ARGV[5] of what it declares dead.
if not layout then call('SET', ns .. 'layout', ARGV[2]) end
local KEEP, KEEP_DEAD = tonumber(ARGV[4]), tonumber(ARGV[5])

local seq
local function next_number()
  seq = (seq or tonumber(call('GET', ns .. 'seq') or 0)) + 1
  return seq
end
local function last_number() return next_number() - 1 end -- what comes has a greater one

local pending = {} -- key -> a command on it that grows
local function put(command, key, one, two)
  local batch = pending[key]
  local n = batch and #batch or 0
  if n == 0 or n > 3000 or batch[1] ~= command then
    if batch then call(unpack(batch)) end
    batch, n = {command, key}, 2
    pending[key] = batch
  end
  batch[n + 1] = one
  batch[n + 2] = two
end
local function sync(key) -- before the key is read
  local batch = pending[key]
  if batch then
    pending[key] = nil
    call(unpack(batch))
  end
end

local counts, lane_counts, running_counts, holders = {}, {}, {}, {}
local function count(what, queue, by) -- what: a state, or x
  local its = counts[queue]
  if not its then
    its = {}
    counts[queue] = its
  end
  its[what] = (its[what] or 0) + by
end
local function count_lane(lane, by) lane_counts[lane] = (lane_counts[lane] or 0) + by end
local freed = {} -- counted names, and by how much fewer run with them than before the call
local function count_running(name, by)
  running_counts[name] = (running_counts[name] or 0) + by
  freed[name] = (freed[name] or 0) - by
end
local function add(key, field, by)
  if by ~= 0 and call('HINCRBY', key, field, by) == 0 then call('HDEL', key, field) end
end
local function add_up(key, changes)
  for field, by in pairs(changes) do add(key, field, by) end
end

local function sync_all() -- before jobs or indexes are read; counts may go on
  for _, batch in pairs(pending) do call(unpack(batch)) end
  pending = {}
end
local function flush() -- before anything is read that may have changed
  sync_all()
  for queue, its in pairs(counts) do
    for what, by in pairs(its) do add(ns .. 'n', what .. queue, by) end
  end
  add_up(ns .. 'lanes', lane_counts)
  add_up(ns .. 'running', running_counts)
  for session, holds in pairs(holders) do -- the set of those that hold anything
    holds = holds == 'surely' or call('EXISTS', ns .. 'h:' .. session) == 1
    call(holds and 'SADD' or 'SREM', ns .. 'held', session)
  end
  counts, lane_counts, running_counts, holders = {}, {}, {}, {}
end

local ready_lanes, ended, told, makes_room, due_earlier = {}, {}, {}, false, false
local function became_ready(lane, jobs) ready_lanes[lane] = (ready_lanes[lane] or 0) + jobs end
local function were_taken(lane, jobs) -- by the call itself: nobody else need come for these
  if ready_lanes[lane] then ready_lanes[lane] = ready_lanes[lane] - jobs end
end
local function publish(channel) call('SPUBLISH', ns .. channel, '') end

-- A few jobs are told to as few of the sessions that found nothing (see `await_jobs`), and to one more: one may be dead
-- without the server having heard of it. If there are not so many, somebody may wait who is not among them, and all are
-- told. A hint is used up: who was told looks, and stands here again if that brings nothing.
local FEW, TURNS = 50, 4
local function add_listening(idle, sessions) -- those whose connections the server has
  local channels = {}
  for i, session in ipairs(sessions) do channels[i] = ns .. 'session/' .. session end
  local heard = call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
  for i, session in ipairs(sessions) do
    if heard[2 * i] > 0 then idle[#idle + 1] = session end
  end
end
local function tell_ready(lane, jobs)
  local idle = {}
  for _ = 1, jobs <= FEW and TURNS or 0 do
    local sessions = call('SPOP', ns .. 'idle:' .. lane, jobs + 1 - #idle)
    if #sessions > 0 then add_listening(idle, sessions) end
    if #sessions == 0 or #idle > jobs then break end
  end
  call('SPUBLISH', ns .. 'ready/' .. queue_of(lane), #idle > jobs and table.concat(idle) or '')
end
local function expect_none(session, lanes) -- it stands among the idle no more
  for _, lane in ipairs(lanes and cmsgpack.unpack(lanes) or {}) do call('SREM', ns .. 'idle:' .. lane, session) end
end
local function has_room() -- under a limit, which whoever ended jobs has not used up again
  for name, by in pairs(freed) do
    if by > 0 and (string.sub(name, 1, 1) == '2' or call('HEXISTS', ns .. 'limits', name) == 1) then return true end
  end
  return false
end
local CARRIED, results = 4096, {} -- results that a hint carries are no longer; of jobs that succeeded and never failed, by id
local function tell_ends() -- only those that somebody waits for
  for from = 1, #ended, 500 do
    local channels = {}
    for i = from, math.min(from + 499, #ended) do channels[#channels + 1] = ns .. 'finished/' .. ended[i] end
    local heard = call('PUBSUB', 'SHARDNUMSUB', unpack(channels))
    for i = 1, #heard, 2 do
      if heard[i + 1] > 0 then
        local result = results[ended[from + (i - 1) / 2]]
        call('SPUBLISH', heard[i], result and #result <= CARRIED and '=' .. result or '')
      end
    end
  end
end
local function done() -- the last thing that a verb does
  flush()
  if seq then call('SET', ns .. 'seq', seq) end
  for lane, jobs in pairs(ready_lanes) do
    if jobs > 0 then tell_ready(lane, jobs) end
  end
  for session in pairs(told) do publish('session/' .. session) end
  if makes_room == 'limits' or makes_room and has_room() then publish('room') end
  if due_earlier then publish('scheduled') end
  if #ended > 0 and call('PUBSUB', 'SHARDNUMSUB', ns .. 'finished')[2] > 0 then tell_ends() end
end

local has_limits
local function limited()
  if has_limits == nil then has_limits = call('EXISTS', ns .. 'limits') == 1 end
  return has_limits
end
