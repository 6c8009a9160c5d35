-- slow: halves the rate of a relay, or of a recipient domain there, that asked for less. Many who are told so at once
--       halve it once. It rises again by itself: `rate_now` in relays.py.
-- KEYS     1 slowed rates
-- ARGV     1 domain (nothing: the relay), 2 letters_per_s as measured, 3 least letters_per_s, 4 rise_ms (in which it doubles)
-- returns  the rate from now on, as text
-- room     not needed
local slowed, domain = KEYS[1], ARGV[1]
local full, least, rise = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local rate = full
local found = redis.call('HGET', slowed, domain)
if found then
  local was, since, was_full = found:match('^(%S+) (%S+) (%S+)$')
  local passed = math.max(0, now - tonumber(since))
  if passed < 1000 and now >= tonumber(since) then return was end
  full = tonumber(was_full)
  rate = math.min(full, tonumber(was) * 2 ^ (passed / rise))
end
local text = string.format('%.3f', math.max(least, rate / 2))
redis.call('HSET', slowed, domain, text .. ' ' .. digits(now) .. ' ' .. string.format('%.3f', full))
-- Twenty doublings bring any rate back.
redis.call('PEXPIRE', slowed, 20 * rise)
return text
