#!lua flags=allow-oom
-- KEYS namespace   ARGV session, request, limit, payload bytes, lane...
-- -> flat list of 7 per job (see _take); error REFUSED unknown | revoked | late
--!include _common
--!include _take
local no = refuse(ARGV[1], tonumber(ARGV[2]))
if no then return redis.error_reply('REFUSED ' .. no) end
local lanes = {}
for i = 5, #ARGV do lanes[i - 4] = ARGV[i] end
return take(ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), lanes, {})
