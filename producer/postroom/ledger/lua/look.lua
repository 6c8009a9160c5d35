-- look: reads the same fields of many letters, packed: one large answer is read three times as fast as many small ones.
-- KEYS     the letters
-- ARGV     the fields
-- returns  MessagePack: for each letter an array of its fields' values, empty for one that it has not
-- room     not needed
local rows = {}
for place, letter in ipairs(KEYS) do
  local row = redis.call('HMGET', letter, unpack(ARGV))
  for field, value in ipairs(row) do row[field] = value or '' end
  rows[place] = row
end
return cmsgpack.pack(rows)
