-- trip: leaves a relay alone for a while. A pause that is there already is not prolonged, so a repeat changes nothing;
--       unless it seems to be longer than it was: then the clock has gone back.
-- KEYS     1 breaker
-- ARGV     1 wait_ms, 2 why, 3 '1' when an operator has to act
-- returns  left_ms
-- room     not needed
local breaker = KEYS[1]
local found = redis.call('HMGET', breaker, 'until_ms', 'wait_ms')
local left = tonumber(found[1] or '0') - now
if left > 0 and left <= tonumber(found[2] or left) then return left end
redis.call('HSETNX', breaker, 'since_ms', digits(now))
redis.call('HINCRBY', breaker, 'trips', 1)
redis.call('HSET', breaker, 'until_ms', digits(now + tonumber(ARGV[1])), 'wait_ms', ARGV[1],
  'why', ARGV[2], 'alert', ARGV[3])
redis.call('HDEL', breaker, 'probe', 'probe_until_ms')
redis.call('PERSIST', breaker)
return tonumber(ARGV[1])
