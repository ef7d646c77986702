#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), limit, losses while running alone that a job may have, then per sign: session, renewals
-- -> {jobs moved, 1 if there is more to do}
--!include _common _write _job _edges _finish _session
local SUSPECT_FROM = 2 -- from this loss on a job runs alone
local limit, max_lost = tonumber(ARGV[6]), tonumber(ARGV[7])

local function is_dead(session, renewals) -- if so, it is revoked from here on
  local life = life_of(session)
  if not life or life.revoked then return true end
  if life.until_ > now or life.renewals ~= renewals then return false end
  call('HSET', ns .. 's:' .. session, 'v', 1)
  return true
end

local function take_back(job)
  job.losses = job.losses + 1
  set_more(job, 'x', job.losses)
  if job.cancel_requested then return finish(job, CANCELLED, KEEP, REASON_CANCELLED) end
  if job.suspect and job.losses - SUSPECT_FROM >= max_lost then return finish(job, DEAD, KEEP_DEAD, REASON_LOST) end
  leave(job)
  job.suspect = job.losses >= SUSPECT_FROM and '1' or false
  if job.suspect then set_more(job, 'y', 1) end
  unset(job, 'u')
  job.state = READY
  enter(job)
  set(job, 's', READY)
  became_ready(job.lane, 1)
end

local moved, more = 0, false
for i = 8, #ARGV, 2 do
  local session = ARGV[i]
  if is_dead(session, tonumber(ARGV[i + 1])) then
    local found, left = held_by(session, 0, math.huge), limit - moved
    for k = 1, math.min(left, #found) do
      take_back(load(found[k][2]))
      moved = moved + 1
    end
    if #found > left then
      more = true
    else
      forget(session)
    end
  end
end
cascade()
done()
return {moved, more and 1 or 0}
