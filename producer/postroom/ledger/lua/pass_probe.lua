-- pass_probe: the letter that was to probe the relay was not sent after all, so whoever asks next is to.
-- KEYS     1 breaker
-- ARGV     1 nonce of who was to probe
-- returns  1, or 0 when another probes by now
-- room     not needed
local breaker = KEYS[1]
if redis.call('HGET', breaker, 'probe') ~= ARGV[1] then return 0 end
redis.call('HDEL', breaker, 'probe', 'probe_until_ms')
return 1
