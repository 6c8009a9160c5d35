-- enter_window: told before the end of the content is sent, so that a crash in the window is seen as uncertain.
-- KEYS     1 letter, 2 index sending
-- ARGV     1 id, 2 nonce, 3 lease_ms, 4 relay, 5 recipients as they are by now (nothing: as they were)
-- returns  1, or 0 when the claim is lost (then nothing more may be sent)
-- from     sending   to  sending
-- guard    state and nonce
-- room     not needed
local letter, sending = KEYS[1], KEYS[2]
local found = redis.call('HMGET', letter, 'state', 'nonce')
if found[1] ~= 'sending' or found[2] ~= ARGV[2] then return 0 end
expect_index(sending)
local window = digits(now) .. ' ' .. ARGV[4]
if ARGV[5] == '' then redis.call('HSET', letter, 'window', window)
else redis.call('HSET', letter, 'window', window, 'recipients', ARGV[5]) end
enter(sending, ARGV[1], now + tonumber(ARGV[3]))
return 1
