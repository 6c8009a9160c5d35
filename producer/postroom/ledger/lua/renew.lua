-- renew: prolongs a claim.
-- KEYS     1 letter, 2 index sending
-- ARGV     1 id, 2 nonce, 3 lease_ms
-- returns  1, or 0 when the claim is lost
-- from     sending   to  sending
-- guard    state and nonce
-- room     not needed
local letter, sending = KEYS[1], KEYS[2]
local found = redis.call('HMGET', letter, 'state', 'nonce')
if found[1] ~= 'sending' or found[2] ~= ARGV[2] then return 0 end
expect_index(sending)
enter(sending, ARGV[1], now + tonumber(ARGV[3]))
return 1
