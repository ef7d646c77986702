-- What every verb begins with. KEYS[1] is the namespace in braces, its hash tag, so that all keys of a namespace share
-- one slot; ARGV[1] the instant (empty: the server's time), ARGV[2] the version of the layout.
--
-- The layout, under the namespace (a lane is queue, NUL, requirement signature; a counted name is scope digit, name):
--   layout, seq          version; the one counter of numbers (in the order of storing), sequences and turns
--   j:<id>               hash, a job: k task, q lane, i priority, s state, n number, w sequence where it is not n (0: none),
--                        b stored at, c the last claim (token, attempt, request, started, session), o settled how (and,
--                        of a plain job: finished, purge at), fi finished, pu purge at, r result, pr progress, ms message; and
--                        m if it has any of what a plain job has not (e: nothing but edges, and what follows from them):
--                        d due, e expires, f failures, x losses, z snoozes, y suspect, cr cancel asked for, u undeliverable
--                        since, ke retention, re reason, uk unique key, uu until, ug given up, lk limit key, l bytes of a
--                        large payload, g edges; of edges to parents: en unmarked ones that it needs, ex of others (wants,
--                        open, saw, broken), and while they are few pl their ids, pm three letters for each (see _edges);
--                        of edges to dependants: dn unfinished ones that it is kept for, dl their ids while they are few,
--                        me the last number when it ended;
--                        left behind: mt the place up to which its dependants are marked, ct the cursor in its parents
--   p:<id> e:<id> g:<id> payload with options before it; list of errors; log
--   ids                  zset by id, of all jobs;  u  hash: length of the task, task, unique key -> holder
--   n                    hash: state digit and queue, or x and queue for suspects -> how many;  lanes  hash: ready
--   l:<lane> x:<lane>    zsets by position: plain ready jobs; suspects
--   o:<queue>            zset by number: ready jobs that do not stand in the order of their numbers
--   k:<lane>             set, what else is in the lane: k<task> lines of limit keys, a<task> jobs aside, z parked
--   a:<lane>NUL<task>    zset by position: jobs that stand aside, their task being at its limit;  z:<lane> expired ones
--   L:<lane>NUL<task>    zset by place: lines in the rotation;  K:<lane>NUL<line>  zset: the jobs of a line
--   T:<lane>             hash: lines that have had a turn -> place given by the last
--   b:<lane> bv: bu:     barred lines: hash -> 1; zset by version of the limits; zset by end of the bar
--   bk:<key>             set of lines barred until a running job of the key ends;  bars  hash lane -> last instant
--   turns                hash lane -> who had the last turn when jobs without a key and lines had the same priority
--   due expiring purge waiting   zsets of number and id, by instant (waiting: by number)
--   s:<session> c: h:    hash (i: the lanes for which it is idle); set of commands; hash of what it holds: id -> place in the order
--                        of claims, token and, if the job is plain or has nothing else than edges, number (behind an e if it
--                        has those), lane, NUL, task;  sessions  zset by opening;  held  set of those that hold
--   running              hash: counted name -> how many run;  limits buckets  hashes;  buckets_at  where purge looks on;
--   lv                   version of the limits of keys
--   pa:<id>              hash, edges to parents that are not few: parent -> its three letters
--   removed              zset by number: deleted jobs (number, id) with edges that their parents still name;
--   rm:<number, id>      hash, those edges
--   dp:<id>              zset of its dependants: by the number at which they were added, 0: not to be marked any more
--   S:<name>             hash, a schedule: v version, d definition, p paused, n next, l last, f jobs, k skipped, j last job, c
--                        changed at, g deleted at;  schedules  zset of names;  schedules_due schedules_gone  zsets of names, by
--                        next fire time and by deletion
--   D:<kind>             hash, documents: key -> version, expires at or empty, body;  documents:<kind>  zset of their keys
--   documents_expiring   zset of kind and key, by when they are over
--   idle:<lane>          set of sessions that looked there in vain, and have not been told of any since
--   behind               zset of finished jobs with edges still to be marked or closed;  duty  hash
local call, ns = redis.call, KEYS[1] .. ':'
local J = ns .. 'j:'
local WAITING, SCHEDULED, READY, RUNNING, SUCCEEDED, DEAD, CANCELLED = 0, 1, 2, 3, 4, 5, 6
local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000000 + time[2]
end
local layout = call('GET', ns .. 'layout')
if layout and layout ~= ARGV[2] then return redis.error_reply('LAYOUT ' .. layout) end

local NOW = string.format('%.0f', now)

-- Numbers are slow to write: what is written for each job is a text made once, where that can be.
local function int(number) return string.format('%.0f', number) end
local function whole(number) return string.format('%d', number) end -- the same in a third of the time, up to 2^63

local queues = {}
local function queue_of(lane)
  local queue = queues[lane] or string.sub(lane, 1, string.find(lane, '\0', 1, true) - 1)
  queues[lane] = queue
  return queue
end

local function position(priority, sequence) return (9 - priority) * 562949953421312 + sequence end
