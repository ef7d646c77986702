#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), session, number of settlements, then for each: id, token, outcome digit followed by d if
--   there is data and by n if it was not started, data (result or error), retention, delay; then, if there is a claim, it
--   (see _walk)
-- -> {a digit per settlement: 0 applied, 1 already, 2 lost; 1 if edges were left behind, else 0; the claim's answer or false}
--!include _common _write _job _finish _limits _claim _walk
local SUCCEED, RETRY, DIE, SNOOZE, RELEASE, ACKNOWLEDGE, UNDELIVERABLE = '1', '2', '3', '4', '5', '6', '7'
local MAX_ERRORS = 10
local settler, n, answers = ARGV[6], tonumber(ARGV[7]), {}

local function succeed(job, keep, result) -- a job without edges, which is what most are
  leave(job)
  job.state = SUCCEEDED
  count(SUCCEEDED .. job.queue, 1)
  local at = now + math.max(keep, KEEP_AT_LEAST)
  if result then
    set(job, 's', SUCCEEDED, 'o', SUCCEED, 'fi', now, 'ke', keep, 'pu', at, 'r', result)
  else
    set(job, 's', SUCCEEDED, 'o', SUCCEED, 'fi', now, 'ke', keep, 'pu', at)
  end
  put('ZADD', ns .. 'purge', at, member(job))
  free_key(job)
  ended[#ended + 1] = job.id
end

local function count_end(job, outcome, started)
  if outcome == RETRY or outcome == DIE then
    job.failures = job.failures + 1
    set(job, 'f', job.failures)
  elseif outcome == SNOOZE then
    job.snoozes = job.snoozes + 1
    set(job, 'z', job.snoozes)
  elseif outcome == UNDELIVERABLE or (outcome == RELEASE and not started) then
    job.attempt = job.attempt - 1
    set(job, 'a', job.attempt)
  end
  if outcome == UNDELIVERABLE and not job.undeliverable then set(job, 'u', now) end
end

local function keep_error(job, error_)
  local key = ns .. 'e:' .. job.id
  call('RPUSH', key, error_)
  call('LTRIM', key, -MAX_ERRORS, -1)
end

local FINAL = {[SUCCEED] = SUCCEEDED, [DIE] = DEAD, [ACKNOWLEDGE] = CANCELLED}
local function apply(job, outcome, started, data, keep, delay)
  set(job, 'o', outcome)
  count_end(job, outcome, started)
  if data and outcome ~= SUCCEED then keep_error(job, data) end
  local state = FINAL[outcome]
  if job.cancel_requested and outcome ~= SUCCEED then state = CANCELLED end
  if state then -- what was not meant to be final says nothing of its retention
    local result = state == SUCCEEDED and data or nil
    finish(job, state, FINAL[outcome] and keep or KEEP, state == CANCELLED and REASON_CANCELLED or 0, result)
    return
  end
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

local function settle_one(at)
  local id, token, what = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local outcome, has_data = string.sub(what, 1, 1), string.sub(what, 2, 2) == 'd'
  local job = load(id)
  if not job or job.session ~= settler or job.token ~= token then return '2' end
  if job.state ~= RUNNING then return job.settled == outcome and '1' or '2' end
  local keep, data = tonumber(ARGV[at + 4]), has_data and ARGV[at + 3] or nil
  if outcome == SUCCEED and not job.graph then
    succeed(job, keep, data)
  else
    apply(job, outcome, not string.find(what, 'n', 1, true), data, keep, tonumber(ARGV[at + 5]))
  end
  return '0'
end

for i = 1, n do answers[i] = settle_one(8 + (i - 1) * 6) end
local more_edges = cascade()
local answer = false
local at = 8 + n * 6
if ARGV[at] then
  flush()
  answer = claim(at)
end
done()
return {table.concat(answers), more_edges and 1 or 0, answer}
