#!lua
-- KEYS namespace
-- ARGV head (see _common, _write), then for each: kind, key, body, version that is expected or empty, how long kept or empty
-- -> the version stored of each, 0 where another was there than was expected
--!include _common _write _document _document_write
local versions = {}

local function store_document(kind, key, body, expected, keep)
  local found = read_document(kind, key)
  local version = found and tonumber(found[1]) or 0
  if expected ~= '' and tonumber(expected) ~= version then
    return found and version == tonumber(expected) + 1 and found[3] == body and version or 0
  end
  local expires = keep == '' and '' or int(now + tonumber(keep))
  call('HSET', documents_key(kind), key, int(version + 1) .. ' ' .. expires .. ' ' .. body)
  call('ZADD', ns .. 'documents:' .. kind, 0, key)
  if expires == '' then
    call('ZREM', ns .. 'documents_expiring', expiring_name(kind, key))
  else
    call('ZADD', ns .. 'documents_expiring', expires, expiring_name(kind, key))
  end
  return version + 1
end

for at = 6, #ARGV, 5 do
  versions[#versions + 1] = store_document(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
end
done()
return versions
