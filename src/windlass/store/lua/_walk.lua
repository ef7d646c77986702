-- A claim's way through a lane in which not all jobs are alike: by priority and, within one, jobs without a limit key and
-- lines of limit keys by turns. Most claims meet no such lane, and making a function takes time: so these are made when
-- they are needed.
local function make_walk()
  local walk -- of the lane at hand

  local function open_pages(key, task) return {key = key, task = task, rows = {}, at = 1} end

  local function next_plain(pages) -- the first job of these that is not expired
    if pages.first ~= nil then return pages.first end
    while not more do
      if pages.at > #pages.rows then
        sync(pages.key)
        pages.rows, pages.at = call('ZRANGE', pages.key, 0, PAGE - 1, 'WITHSCORES'), 1
        if #pages.rows == 0 then break end
      end
      local job = look(pages.rows[pages.at], walk.lane, pages.rows[pages.at + 1])
      job.queue = walk.queue
      if is_expired(job) then
        put('ZREM', pages.key, job.id)
        park(job)
      elseif walk.left_out[job.task] then -- aside, so that later claims do not meet it here
        put('ZREM', pages.key, job.id)
        call('ZADD', ns .. 'a:' .. walk.lane .. '\0' .. job.task, job.place, job.id)
        call('SADD', ns .. 'k:' .. walk.lane, 'a' .. job.task)
      else
        pages.first = job
        return job
      end
      pages.at = pages.at + 2
      if looks > LOOKS then more = true end
    end
    pages.first = false
    return false
  end

  local function next_keyed(rotation_) -- the first job of the first line that has one which is not expired
    if rotation_.first ~= nil then return rotation_.first end
    while not more do
      local line = call('ZRANGE', rotation_.key, 0, 0, 'WITHSCORES')
      if not line[1] then break end
      local key, skip = line_key(walk.lane, line[1]), 0
      while not more do
        local row = call('ZRANGE', key, skip, skip, 'WITHSCORES')
        if not row[1] then break end
        local job = look(row[1], walk.lane, row[2])
        job.queue = walk.queue
        if not is_expired(job) then
          job.line, job.line_place = line[1], line[2]
          rotation_.first = job
          return job
        end
        skip = skip + 1
        due_earlier = true -- what is expired is the janitors' to cancel
        if looks > LOOKS then more = true end
      end
      -- All of them are expired. The line keeps its place, and is passed over by this claim.
      call('ZREM', rotation_.key, line[1])
      walk.idle[#walk.idle + 1] = {rotation_.key, line[2], line[1]}
    end
    rotation_.first = false
    return false
  end

  local function first_of(sources, next_one)
    local best, from
    for task, source in pairs(sources) do
      local job = not walk.left_out[task] and next_one(source)
      if job and (not best or (job.line_place or job.place) + 0 < (best.line_place or best.place) + 0) then
        best, from = job, source
      end
    end
    return best, from
  end

  local function next_job()
    local plain, plain_source = first_of(walk.plain, next_plain)
    local keyed, rotation_ = first_of(walk.rotations, next_keyed)
    walk.tie = plain and keyed and plain.priority == keyed.priority
    if not plain or not keyed then
      walk.source = plain and plain_source or rotation_
      return plain or keyed
    end
    local takes_keyed
    if walk.tie then takes_keyed = not walk.line_was_last else takes_keyed = keyed.priority > plain.priority end
    walk.source = takes_keyed and rotation_ or plain_source
    return takes_keyed and keyed or plain
  end

  local function take(job) -- or say that this is all
    if not fits(job) then
      full = true
      return
    end
    spend('0' .. job.queue)
    spend('1' .. job.task)
    if job.limit_key then spend('2' .. job.limit_key) end
    if walk.tie then
      walk.line_was_last = job.line ~= nil
      walk.turned = true
    end
    walk.source.first = nil
    if not job.line then
      put('ZREM', walk.source.key, job.id)
      walk.source.at = walk.source.at + 2
      start(job)
      return
    end
    leave_line(job)
    start(job)
    local turn = position(job.priority, next_number())
    if call('EXISTS', line_key(job.lane, job.line)) == 1 then -- the others come first now
      call('HSET', ns .. 'T:' .. job.lane, job.line, turn)
      call('ZADD', walk.source.key, turn, job.line)
    end
  end

  local function bar(job, wait) -- leave the line of a key that is at its limit until it may go on
    local lane = job.lane
    call('ZREM', walk.source.key, job.line)
    call('HSET', ns .. 'b:' .. lane, job.line, 1)
    call('ZADD', ns .. 'bv:' .. lane, call('GET', ns .. 'lv') or 0, job.line)
    call('HSET', ns .. 'bars', lane, now)
    if wait then
      call('ZADD', ns .. 'bu:' .. lane, now + wait, job.line)
    else
      call('SADD', ns .. 'bk:' .. job.limit_key, barred_name(lane, job.line))
    end
    walk.source.first = nil
  end

  local function held_back(job) -- by which limit, and for how long: its queue's, else its task's, else its key's
    local wait = wait_of('0' .. job.queue)
    if wait ~= 0 then return 'queue', wait end
    wait = wait_of('1' .. job.task)
    if wait ~= 0 then return 'task', wait end
    wait = job.limit_key and wait_of('2' .. job.limit_key) or (not job.limit_key and 0)
    if wait ~= 0 then return 'key', wait end
  end

  local function go_through(most, waits) -- answers whether the lane ran out
    while not full and taken < most do
      local job = next_job()
      if more then return false end -- what stands behind that which was passed over might come first
      if not job then return true end
      local by, wait = held_back(job)
      if wait then waits[#waits + 1] = wait end
      if by == 'queue' then return true end
      if by == 'task' then
        walk.left_out[job.task] = true
        walk.plain[job.task], walk.rotations[job.task] = nil, nil
        if walk.plain[''].first then walk.plain[''].first = nil end
      elseif by == 'key' then
        bar(job, wait)
      else
        take(job)
      end
    end
    return false
  end

  -- Lines whose time has come, or whose limits have changed, and whatever was put by before the clock was set back.
  local function reopen_some(lane, key, score)
    local lines = call('ZRANGEBYSCORE', key, '-inf', score, 'LIMIT', 0, LOOKS)
    for _, line in ipairs(lines) do reopen(lane, line) end
    if #lines == LOOKS then more = true end
  end
  local function come_back(lane)
    local last = tonumber(call('HGET', ns .. 'bars', lane) or 0)
    if last > now then
      reopen_some(lane, ns .. 'bv:' .. lane, '+inf')
      local parked = call('ZRANGE', ns .. 'z:' .. lane, 0, LOOKS - 1, 'WITHSCORES')
      for i = 1, #parked, 2 do
        call('ZADD', ns .. 'l:' .. lane, parked[i + 1], parked[i])
        call('ZREM', ns .. 'z:' .. lane, parked[i])
      end
      if call('EXISTS', ns .. 'z:' .. lane) == 0 and call('EXISTS', ns .. 'bv:' .. lane) == 0 then
        call('HSET', ns .. 'bars', lane, now)
      end
    end
    reopen_some(lane, ns .. 'bu:' .. lane, now)
    reopen_some(lane, ns .. 'bv:' .. lane, (call('GET', ns .. 'lv') or 0) - 1)
  end

  local function open_walk(lane, queue, kinds)
    walk = {
      lane = lane, queue = queue, left_out = {}, idle = {}, rotations = {},
      plain = {[''] = open_pages(ns .. 'l:' .. lane)}, line_was_last = call('HGET', ns .. 'turns', lane) == '1',
    }
    for _, kind in ipairs(kinds) do
      local what, task = string.sub(kind, 1, 1), string.sub(kind, 2)
      if what == 'a' then
        walk.plain[task] = open_pages(ns .. 'a:' .. lane .. '\0' .. task, task)
      elseif what == 'k' then
        walk.rotations[task] = {key = rotation(lane, task)}
      end
    end
  end
  local function close_walk(kinds)
    for _, line in ipairs(walk.idle) do call('ZADD', line[1], line[2], line[3]) end
    if walk.turned then call('HSET', ns .. 'turns', walk.lane, walk.line_was_last and 1 or 0) end
    for _, kind in ipairs(kinds) do -- forget what the lane has no more
      local what, task = string.sub(kind, 1, 1), string.sub(kind, 2)
      local key = ns .. 'z:' .. walk.lane
      if what == 'a' then
        key = ns .. 'a:' .. walk.lane .. '\0' .. task
        sync(key)
      elseif what == 'k' then
        key = rotation(walk.lane, task)
      end
      if call('EXISTS', key) == 0 and (what ~= 'k' or call('EXISTS', ns .. 'b:' .. walk.lane) == 0) then
        call('SREM', ns .. 'k:' .. walk.lane, kind)
      end
    end
  end

  local function take_by_turns(lane, queue, most, kinds)
    come_back(lane)
    open_walk(lane, queue, kinds)
    local waits = {}
    if go_through(most, waits) then
      for _, wait in ipairs(waits) do note_wait(wait) end
      local first = call('ZRANGE', ns .. 'bu:' .. lane, 0, 0, 'WITHSCORES')[2]
      if first then note_wait(tonumber(first) - now) end
    end
    sync(ns .. 'l:' .. lane)
    close_walk(kinds)
  end

  local function take_suspect(lane, queue)
    for _, id in ipairs(call('ZRANGE', ns .. 'x:' .. lane, 0, LOOKS - 1)) do
      if taken > 0 then return end
      local job = look(id, lane, call('ZSCORE', ns .. 'x:' .. lane, id))
      job.queue, job.suspect = queue, '1'
      if not is_expired(job) then
        local by, wait = held_back(job)
        if not by then
          fits(job)
          spend('0' .. queue)
          spend('1' .. job.task)
          if job.limit_key then spend('2' .. job.limit_key) end
          call('ZREM', ns .. 'x:' .. lane, id)
          start(job)
          return
        end
        note_wait(wait)
      end
    end
  end

  return {take_by_turns = take_by_turns, take_suspect = take_suspect}
end
local ways
local function walk_of() -- made once
  ways = ways or make_walk()
  return ways
end

local function take_from(lane, until_)
  local queue = queue_of(lane)
  if alone then return walk_of().take_suspect(lane, queue) end
  local most = math.min(until_, MOST)
  local kinds = call('SMEMBERS', ns .. 'k:' .. lane)
  if #kinds == 0 and not limited() then return take_plainly(lane, queue, most) end
  walk_of().take_by_turns(lane, queue, most, kinds)
end

-- Hints for this session: it stands among the idle of the lanes in which it looked in vain.
local function await_jobs(first, last)
  local lanes = {}
  for i = first, last, 2 do lanes[#lanes + 1] = ARGV[i] end
  table.sort(lanes)
  local packed = cmsgpack.pack(lanes)
  if idle_for ~= packed then
    expect_none(session, idle_for)
    call('HSET', ns .. 's:' .. session, 'i', packed)
  end
  for _, lane in ipairs(lanes) do call('SADD', ns .. 'idle:' .. lane, session) end
end

-- ARGV from `at`: session, request, alone (1 or 0), bytes, 1 if it hears hints and else 0, number of lanes, then lane, until
--   for each
-- -> {refusal or 0, more (1 or 0), retry_in or -1, 8 per job: id, token, task, payload, lane, priority, stored at, extra}
local function claim(at)
  session, request, alone = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2] == '1'
  local refused = refusal(session, request, alone)
  if refused then return {refused, 0, -1, {}} end
  bytes_left = tonumber(ARGV[at + 3])
  call('HSET', ns .. 's:' .. session, 'q', request)
  local first, last = at + 6, at + 4 + 2 * ARGV[at + 5]
  for i = first, last, 2 do
    if more then break end
    local before = taken
    take_from(ARGV[i], tonumber(ARGV[i + 1]))
    were_taken(ARGV[i], taken - before)
  end
  write_buckets()
  if taken == 0 and not alone and ARGV[at + 4] == '1' then
    await_jobs(first, last)
  elseif idle_for then
    expect_none(session, idle_for)
    call('HDEL', ns .. 's:' .. session, 'i')
  end
  return {0, more and 1 or 0, retry_in and math.max(0, retry_in) or -1, out}
end
