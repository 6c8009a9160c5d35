-- put_aside: gives another name to what is of the wrong type, where somebody else has overwritten a key of ours: no
--            script could ever go on there. Repeating it changes nothing. The braces keep it in the slot that it is in.
-- KEYS     any
-- ARGV     the type that each has to be of
-- returns  {key, the type that it was of, ...}
-- room     not needed
local found = {}
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= 'none' and kind ~= ARGV[i] then
    redis.call('RENAME', key, (key:find('{', 1, true) and key or '{' .. key .. '}') .. ':damaged')
    found[#found + 1] = key
    found[#found + 1] = kind
  end
end
return found
