-- The letters of one edge, for those that do not go through many.
local function letters_of(id, parent) -- nil if there is no such edge
  local v = call('HMGET', J .. id, 'pl', 'pm')
  local at = v[1] and place_in(v[1], parent)
  if at then return letters_at(v[2], at) end
  return string.match(call('HGET', parents_key(id), parent) or '', '^(.)(.)(.)$')
end
