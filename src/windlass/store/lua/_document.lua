-- Documents: `read_document` answers {version, expires at or empty, body}, or nothing where there is none any more.
local function documents_key(kind) return ns .. 'D:' .. kind end
local function read_document(kind, key)
  local text = call('HGET', documents_key(kind), key)
  if not text then return false end
  local _, last, version, expires = string.find(text, '^(%d+) (%d*) ')
  if expires ~= '' and tonumber(expires) <= now then return false end
  return {version, expires, string.sub(text, last + 1)}
end
