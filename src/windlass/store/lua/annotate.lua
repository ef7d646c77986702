#!lua flags=allow-oom
-- KEYS namespace
-- ARGV head (see _common, _write), session, longest log, then for each note: id, token, progress or empty, message with = before
--   it or empty, log
-- -> nothing
--!include _common _write
local session, longest = ARGV[6], tonumber(ARGV[7])

-- The last bytes, without a character cut in two.
local function append(id, text)
  local key = ns .. 'g:' .. id
  if call('APPEND', key, text) <= longest then return end
  local log = call('GETRANGE', key, -longest, -1)
  local skip = 1
  while skip <= 4 and string.byte(log, skip) >= 128 and string.byte(log, skip) < 192 do skip = skip + 1 end
  call('SET', key, string.sub(log, skip))
end

for at = 8, #ARGV, 5 do
  local id = ARGV[at]
  if string.match(call('HGET', ns .. 'h:' .. session, id) or '', '^%d+ (%d+)') == ARGV[at + 1] then
    if ARGV[at + 2] ~= '' then call('HSET', J .. id, 'pr', ARGV[at + 2]) end
    if ARGV[at + 3] ~= '' then call('HSET', J .. id, 'ms', string.sub(ARGV[at + 3], 2)) end
    if ARGV[at + 4] ~= '' then append(id, ARGV[at + 4]) end
  end
end
done()
return 0
