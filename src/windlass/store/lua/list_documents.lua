#!lua flags=no-writes,allow-oom
-- KEYS namespace   ARGV instant, layout, kind, key above which, key below which, how many, 1 for the last ones first
-- -> flat: key, document (see _document)
--!include _common _document
local kind, most, descending = ARGV[3], tonumber(ARGV[6]), ARGV[7] == '1'
local lowest, highest = '(' .. ARGV[4], '(' .. ARGV[5]
local found = {}
while #found < 2 * most do
  local keys
  if descending then
    keys = call('ZRANGE', ns .. 'documents:' .. kind, highest, lowest, 'BYLEX', 'REV', 'LIMIT', 0, most)
  else
    keys = call('ZRANGE', ns .. 'documents:' .. kind, lowest, highest, 'BYLEX', 'LIMIT', 0, most)
  end
  for _, key in ipairs(keys) do
    local document = #found < 2 * most and read_document(kind, key)
    if document then
      found[#found + 1] = key
      found[#found + 1] = document
    end
  end
  if #keys < most then break end
  if descending then highest = '(' .. keys[#keys] else lowest = '(' .. keys[#keys] end
end
return found
