-- Shared by the verbs (included by the driver). Every key lies under the namespace KEYS[1], which carries the hash tag:
--   :j:<id>  hash   a job: k task, p payload, q lane, i priority, s state, t token, f failures, x losses, b given back,
--                   r result, l proof and kind of the last settlement
--   :l:<lane> zset  ready jobs by position (the score, always kept as a string: Lua prints only 14 digits); :x:<lane> suspects
--   :s:<session> hash  u lease end, n renewals, q last request, v revoked
--   :h:<session> hash  id -> "token request score flags lane": all that a settle, release, unclaim or reap must know
--   :c:<session> set   held jobs whose cancellation was asked for
--   :p:<child> zset parents (0 pending, 1 succeeded); :e:<parent> zset children (0 unreleased, 1 released)
--   :edges set parents with children; :cursor set parents with unreleased children; :retain set finished jobs with parents
--   :due zset scheduled; :purge zset finished; :seq counter
local call, ns = redis.call, KEYS[1]
local J, L, X, S, H, C = ns .. ':j:', ns .. ':l:', ns .. ':x:', ns .. ':s:', ns .. ':h:', ns .. ':c:'
local function now() local t = call('TIME'); return t[1] * 1000000 + t[2] end
local function int(n) return string.format('%.0f', n) end
local function position(priority, seq) return int((9 - priority) * 562949953421312 + seq) end
local function held(record) return string.match(record, '^(%d+) (%d+) (%d+) (%d) (.*)$') end
