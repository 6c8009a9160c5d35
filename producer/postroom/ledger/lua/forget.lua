-- forget: removes a letter whose retention is over, or is ended by an operator, its history with it.
--         Repeating it gives the same answer: its caller then drops the contents, which nothing else would.
-- KEYS     1 letter, 2 history, 3 index it is in
-- ARGV     1 id, 2 state it has to be in, 3 early_ms (how much before its time it may go), 4 event, for the stream of events
-- returns  1 (it is gone), or 0 when it is not its time
-- from     sent, partial, failed, cancelled, rejected   to  (nothing)
-- guard    state, and a score that is over
-- room     not needed
local letter, history, index = KEYS[1], KEYS[2], KEYS[3]
local score = redis.call('ZSCORE', index, ARGV[1])
if not score then return 1 - redis.call('EXISTS', letter) end
if tonumber(score) > now + tonumber(ARGV[3]) then return 0 end
local state = redis.call('HGET', letter, 'state')
if state and state ~= ARGV[2] then
  redis.call('ZREM', index, ARGV[1])
  return 0
end
tell(history, dated(ARGV[4]))
redis.call('ZREM', index, ARGV[1])
redis.call('DEL', letter, history)
return 1
