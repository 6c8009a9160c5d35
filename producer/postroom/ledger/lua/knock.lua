-- knock: asks whether a relay may be used now. Where it was left alone and its time is over, the first who asks is the
--        one to probe it; the others wait until that one tells, or its time is over too. A time that is further away
--        than it ever was says that the clock has gone back: it counts from now on, then.
-- KEYS     1 breaker, 2 slowed rates, 3 like refusals, 4 sessions, 5 whether a place is wanted
-- ARGV     1 nonce (of who would probe; nothing: to look only), 2 probe_ms
-- returns  {closed | open | half-open | probe, left_ms, why, trips, since_ms, refusals, sessions, wanted, now_ms, domain, rate, ...}
-- room     not needed
local breaker = KEYS[1]
local found = redis.call('HMGET', breaker, 'until_ms', 'why', 'trips', 'probe', 'probe_until_ms', 'wait_ms', 'since_ms')
local refusals = redis.call('HGET', KEYS[3], 'count') or '0'
local sessions = redis.call('ZCOUNT', KEYS[4], digits(now), '+inf')
local slowed = redis.call('HGETALL', KEYS[2])
local until_ms, why, trips = tonumber(found[1]), found[2] or '', found[3] or '0'
local state, left = 'closed', 0
if until_ms and until_ms > now then
  state, left = 'open', math.min(until_ms - now, tonumber(found[6] or '+inf'))
  if left < until_ms - now then redis.call('HSET', breaker, 'until_ms', digits(now + left)) end
elseif until_ms then
  local probe_until = tonumber(found[5] or '0')
  local is_over = probe_until <= now or (ARGV[1] ~= '' and probe_until > now + tonumber(ARGV[2]))
  if found[4] and found[4] ~= ARGV[1] and not is_over then
    state, left = 'half-open', probe_until - now
  elseif ARGV[1] == '' then
    state = 'half-open'
  else
    redis.call('HSET', breaker, 'probe', ARGV[1], 'probe_until_ms', digits(now + tonumber(ARGV[2])))
    state = 'probe'
  end
end
return {state, digits(left), why, trips, until_ms and found[7] or '0', refusals, tostring(sessions),
  tostring(redis.call('EXISTS', KEYS[5])), digits(now), unpack(slowed)}
