-- admit: asks for everything that a relay's limits allow, and takes all of it or nothing: of each bucket a token, of
--        each set of places one. A place is a lease: who dies gives it back. Who has to wait is given a place in line,
--        so that many do not all come back at once; bulk waits behind those sent alone. (A repeat of it takes a token
--        too many, which only slows.) What was reckoned by a clock that has gone back since counts from now on.
-- KEYS     the buckets (hashes) and sets of places (sorted sets)
-- ARGV     1 member (whose place), 2 lease_ms, 3 '1' for bulk, then for each key: kind (rate or places), limit, wait_ms
--          (for places: when to ask again; for rates: how long a token is kept for one who waits in line)
-- returns  {0}, or {wait_ms, the key that is the reason}
-- room     not needed
local bulk = ARGV[3] == '1'
local wait, reason = 0, ''
local tokens = {}
for i, key in ipairs(KEYS) do
  local kind, limit, pause = ARGV[3 * i + 1], tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
  local needed = 0
  if kind == 'places' then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', digits(now))
    local lease_end = now + tonumber(ARGV[2])
    for _, other in ipairs(redis.call('ZRANGEBYSCORE', key, digits(lease_end + 1000), '+inf')) do
      redis.call('ZADD', key, digits(lease_end), other)
    end
    if not redis.call('ZSCORE', key, ARGV[1]) and redis.call('ZCARD', key) >= limit then needed = pause end
  else
    local found = redis.call('HMGET', key, 'tokens', 'at_ms', 'line_ms', 'bulk_line_ms')
    if tonumber(found[2] or '0') > now then
      redis.call('HSET', key, 'at_ms', digits(now))
      redis.call('HDEL', key, 'line_ms', 'bulk_line_ms')
      found[2], found[3], found[4] = now, false, false
    end
    local burst = math.max(1, limit)
    local passed = now - tonumber(found[2] or '0')
    tokens[i] = math.min(burst, tonumber(found[1] or burst) + passed * limit / 1000)
    local line, bulk_line = tonumber(found[3] or '0'), tonumber(found[4] or '0')
    if tokens[i] < 1 or (bulk and line + pause > now) then
      local first = now + math.max(0, 1 - tokens[i]) * 1000 / limit
      if bulk then first = math.max(first, line, bulk_line) else first = math.max(first, line) end
      needed = math.max(1, math.ceil(first - now))
      redis.call('HSET', key, bulk and 'bulk_line_ms' or 'line_ms', digits(first + 1000 / limit))
      redis.call('PEXPIRE', key, math.ceil(needed + 2000 * burst / limit + 60000))
    end
  end
  if needed > wait then wait, reason = needed, key end
end
if wait > 0 then return {wait, reason} end
for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[3 * i + 2])
  if ARGV[3 * i + 1] == 'places' then
    redis.call('ZADD', key, digits(now + tonumber(ARGV[2])), ARGV[1])
    redis.call('PEXPIRE', key, 2 * tonumber(ARGV[2]))
  else
    redis.call('HSET', key, 'tokens', string.format('%.6f', tokens[i] - 1), 'at_ms', digits(now))
    redis.call('PEXPIRE', key, math.ceil(2000 * math.max(1, limit) / limit + 60000))
  end
end
return {0}
