-- mend: the probe was served, so the relay serves again. How often it was down is remembered for a while: a relay that
--       comes and goes is left alone for longer each time.
-- KEYS     1 breaker
-- ARGV     1 nonce of who probed, 2 remember_ms
-- returns  1, or 0 when another probes by now
-- room     not needed
local breaker = KEYS[1]
if redis.call('HGET', breaker, 'probe') ~= ARGV[1] then return 0 end
redis.call('HDEL', breaker, 'until_ms', 'wait_ms', 'why', 'since_ms', 'alert', 'probe', 'probe_until_ms')
redis.call('PEXPIRE', breaker, ARGV[2])
return 1
