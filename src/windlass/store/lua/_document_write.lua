local function expiring_name(kind, key) return kind .. ' ' .. key end
local function forget_document(kind, key)
  call('ZREM', ns .. 'documents:' .. kind, key)
  call('ZREM', ns .. 'documents_expiring', expiring_name(kind, key))
  return call('HDEL', documents_key(kind), key)
end
