-- keep_places: prolongs the places that a process has; one that ran out is not taken again.
-- KEYS     sets of places
-- ARGV     1 lease_ms, then the member in each
-- returns  how many were still there
-- room     not needed
local kept = 0
for i, key in ipairs(KEYS) do
  if redis.call('ZSCORE', key, ARGV[i + 1]) then
    redis.call('ZADD', key, 'XX', digits(now + tonumber(ARGV[1])), ARGV[i + 1])
    redis.call('PEXPIRE', key, 2 * tonumber(ARGV[1]))
    kept = kept + 1
  end
end
return kept
