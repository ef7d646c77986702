-- Taking ready jobs. A claim takes MOST jobs and looks at LOOKS that it may not take, at most.
local MOST, LOOKS, PAGE, LARGE = 200, 2000, 100, 4096
local session, request, bytes_left, alone, idle_for
local out, taken, full, more, retry_in, looks = {}, 0, false, false, false, 0

local function refusal(session_, request_, alone_)
  local life = call('HMGET', ns .. 's:' .. session_, 'o', 'v', 'q', 'i')
  if not life[1] then return 1 end
  if life[2] then return 2 end
  if request_ <= tonumber(life[3] or 0) then return 3 end
  idle_for = life[4]
  local held = call('HLEN', ns .. 'h:' .. session_)
  if held > 0 and alone_ then return 4 end
  -- Beside a suspect nothing else is held.
  if held == 1 and call('HGET', J .. call('HKEYS', ns .. 'h:' .. session_)[1], 'y') then return 4 end
end

local function row_of(id) return call('HMGET', J .. id, 'k', 'n', 'b', 'c', 'm') end
local function look(id, lane, score, row)
  looks = looks + 1
  local v = row or row_of(id)
  local place = tonumber(score)
  local rank = math.floor(place / 562949953421312)
  local job = {
    id = id, lane = lane, task = v[1], number = tonumber(v[2]), born = v[3], token = 1, attempt = 0, place = place,
    priority = 9 - rank, sequence = place - rank * 562949953421312, more = v[5],
  }
  if v[4] then
    local token, attempt = string.match(v[4], '^(%d+) (%d+)')
    job.token, job.attempt = token + 1, tonumber(attempt)
  end
  if not v[5] or v[5] == 'e' then return job end
  v = call('HMGET', J .. id, 'f', 'z', 'u', 'e', 'uk', 'uu', 'ug', 'l', 'lk') -- what a plain job has not
  job.failures, job.snoozes, job.undeliverable, job.expires_at = v[1], v[2], v[3], v[4] and tonumber(v[4])
  job.unique, job.until_, job.gave_up, job.large, job.limit_key = v[5], v[6], v[7], v[8], v[9]
  return job
end

local function size_of(blob) -- without the options before it, whose length plus one comes first
  local options = struct.unpack('>I4', blob)
  return #blob - 4 - (options > 0 and options - 1 or 0)
end
local function fits(job) -- reads its payload, unless it is too large
  if job.large and taken > 0 and tonumber(job.large) > bytes_left then return false end
  job.blob = job.blob or call('GET', ns .. 'p:' .. job.id)
  job.size = size_of(job.blob)
  return taken == 0 or job.size <= bytes_left
end

local function extra_of(job)
  if job.attempt == 1 and not (job.failures or job.snoozes or job.undeliverable or job.limit_key) then return '' end
  local undeliverable = job.undeliverable and math.max(0, now - tonumber(job.undeliverable)) or 0
  return job.attempt .. ' ' .. (job.failures or 0) .. ' ' .. (job.snoozes or 0) .. ' ' .. int(undeliverable) .. ' '
    .. (job.limit_key and ('=' .. job.limit_key) or '')
end

local function give_up_key(job)
  if job.unique and job.until_ == '2' and not job.gave_up then
    call('HSET', J .. job.id, 'ug', 1)
    call('HDEL', ns .. 'u', unique_field(job.task, job.unique))
  end
end

local claimed_by, first_claim -- the end of each job's record of this claim
local function claim_of(token, attempt)
  claimed_by = claimed_by or (' ' .. int(request) .. ' ' .. NOW .. ' ' .. session)
  return token .. ' ' .. attempt .. claimed_by
end
local function answer(id, token, task, blob, lane, priority, born, extra)
  local n = taken * 8
  out[n + 1], out[n + 2], out[n + 3], out[n + 4] = id, token, task, blob
  out[n + 5], out[n + 6], out[n + 7], out[n + 8] = lane, priority, born, extra
  taken = taken + 1
end

local function start(job) -- it has left the zset in which it stood
  left_lane(job)
  count(READY, job.queue, -1)
  count(RUNNING, job.queue, 1)
  if job.expires_at then put('ZREM', ns .. 'expiring', member(job)) end
  job.attempt = job.attempt + 1
  call('HSET', J .. job.id, 's', RUNNING, 'c', claim_of(job.token, job.attempt))
  if job.token > 1 then call('HDEL', J .. job.id, 'o') end
  local record = whole(request * 1024 + taken) .. ' ' .. job.token
  if not job.more or job.more == 'e' then
    record = record .. (job.more and ' e' or ' ') .. whole(job.number) .. ' ' .. job.lane .. '\0' .. job.task
  end
  put('HSET', ns .. 'h:' .. session, job.id, record)
  holders[session] = 'surely'
  count_starts(job.queue, job.task, job.limit_key, 1)
  give_up_key(job)
  bytes_left = bytes_left - job.size
  answer(job.id, job.token, job.task, job.blob, job.lane, job.priority, job.born, extra_of(job))
end

local function note_wait(wait)
  if wait and (not retry_in or wait < retry_in) then retry_in = wait end
end

-- A lane in which all jobs are alike: no limits, no lines, nobody aside.
local function read_payloads(jobs)
  for _, job in ipairs(jobs) do
    if job.large then return end
  end
  if #jobs * LARGE > bytes_left then return end
  local keys = {}
  for i, job in ipairs(jobs) do keys[i] = ns .. 'p:' .. job.id end
  for i, blob in ipairs(call('MGET', unpack(keys))) do jobs[i].blob = blob end
end
local function park(job) -- it is expired: out of the way, until a janitor cancels it
  due_earlier = true
  call('ZADD', ns .. 'z:' .. job.lane, job.place, job.id)
  call('SADD', ns .. 'k:' .. job.lane, 'z')
  call('HSET', ns .. 'bars', job.lane, now)
end
local function take_others(popped, rows, lane, queue) -- some of which are not plain
  local jobs = {}
  for i = 1, #popped, 2 do
    local job = look(popped[i], lane, popped[i + 1], rows[(i + 1) / 2])
    job.queue = queue
    if is_expired(job) then park(job) else jobs[#jobs + 1] = job end
  end
  if #jobs > 0 then read_payloads(jobs) end
  for _, job in ipairs(jobs) do
    full = full or not fits(job)
    if full then
      put('ZADD', ns .. 'l:' .. lane, job.place, job.id)
    else
      start(job)
    end
  end
  sync(ns .. 'l:' .. lane)
end

-- All that `start` does, for jobs of a lane that are plain or have nothing else than edges.
local holding_key, out_of_order_key, first_order
local function start_plain(id, score, v, blob, lane)
  local token, proof, extra = 1, '1', ''
  if v[4] then
    local last_token, last_attempt = string.match(v[4], '^(%d+) (%d+)')
    local attempt = last_attempt + 1
    token = last_token + 1
    proof = whole(token)
    call('HDEL', J .. id, 'o')
    if attempt > 1 then extra = attempt .. ' 0 0 0 ' end
    call('HSET', J .. id, 's', '3', 'c', claim_of(proof, attempt))
  else
    first_claim = first_claim or claim_of('1', '1')
    call('HSET', J .. id, 's', '3', 'c', first_claim)
  end
  local kind = ' '
  if v[5] then
    kind = ' e'
    put('ZREM', out_of_order_key, id)
  end
  put('HSET', holding_key, id, whole(first_order + taken) .. ' ' .. proof .. kind .. v[2] .. ' ' .. lane .. '\0' .. v[1])
  answer(id, token, v[1], blob, lane, 9 - math.floor(score / 562949953421312), v[3], extra)
end
local function take_plain(popped, rows, lane, queue)
  holding_key, out_of_order_key, first_order = ns .. 'h:' .. session, ns .. 'o:' .. queue, request * 1024
  local keys, tasks = {}, {}
  for i = 1, #rows do keys[i] = ns .. 'p:' .. popped[2 * i - 1] end
  local blobs = call('MGET', unpack(keys))
  for i, v in ipairs(rows) do
    start_plain(popped[2 * i - 1], popped[2 * i], v, blobs[i], lane)
    tasks[v[1]] = (tasks[v[1]] or 0) + 1
    bytes_left = bytes_left - #blobs[i] + 4
  end
  count(READY, queue, -#rows)
  count(RUNNING, queue, #rows)
  count_lane(lane, -#rows)
  count_running('0' .. queue, #rows)
  for task, number in pairs(tasks) do count_running('1' .. task, number) end
  holders[session] = 'surely'
end

local function take_plainly(lane, queue, most)
  while taken < most do
    local wanted = most - taken
    local popped = call('ZPOPMIN', ns .. 'l:' .. lane, wanted)
    local rows, plain = {}, #popped * LARGE / 2 <= bytes_left
    for i = 1, plain and #popped or 0, 2 do
      local v = row_of(popped[i])
      plain = plain and (not v[5] or v[5] == 'e')
      rows[#rows + 1] = v
    end
    if #popped == 0 then return end
    if plain then take_plain(popped, rows, lane, queue) else take_others(popped, rows, lane, queue) end
    if full or #popped < 2 * wanted then return end
    if looks > LOOKS then
      more = true
      return
    end
  end
end
