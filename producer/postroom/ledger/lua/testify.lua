-- testify: a relay's answer that came after the claim had run out in the window: evidence of what nobody knew. It settles
--          the letter, whoever holds the claim by now: that claim ends. Repeating it with the same nonce changes nothing.
-- KEYS     1 letter, 2 history, 3 index it is in, 4 index of the next state
-- ARGV     1 id, 2 nonce, 3 state it has to be in, 4 recipients it has to have, 5 next state, 6 wait_ms,
--          7 recipients from now on, 8 '1' to drop the content, 9 event
-- returns  'settled'; 'again' (it was already); the state that it is in instead; 'nothing' when this claim left no window
-- from     queued, sending, deferred, held, partial, failed, cancelled   to  queued, deferred, held, sent, partial, failed
-- guard    a window of this nonce that ran out; state and recipients as they were seen
-- room     not needed
local letter, history, from, to = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local found = redis.call('HMGET', letter, 'state', 'recipients', 'late', 'testified', 'window', 'nonce')
if found[4] == ARGV[2] then return 'again' end
if not found[3] or not found[3]:find(ARGV[2], 1, true) then return 'nothing' end
if found[1] ~= ARGV[3] or found[2] ~= ARGV[4] then return found[1] end
expect(history, from, to)

-- Whoever is in a window of the same letter now has evidence to give, too.
local late = found[5] and found[6] and (found[3] .. ' ' .. found[6]) or found[3]
redis.call('HSET', letter, 'state', ARGV[5], 'recipients', ARGV[7], 'testified', ARGV[2], 'late', late)
move(ARGV[1], from, to, now + tonumber(ARGV[6]))
if ARGV[5] ~= ARGV[3] then redis.call('HSET', letter, 'reason', '') end
redis.call('HDEL', letter, 'nonce', 'window', 'worker')
if ARGV[8] == '1' then redis.call('HDEL', letter, 'letter') end
note(history, ARGV[9])
return 'settled'
