-- take_webhooks: gives webhooks that are due to one who posts them, for a while: unless it is told what came of them, they
--                are due again.
-- KEYS     1 schedule of webhooks, 2 webhooks
-- ARGV     1 lease_ms, 2 how many at most
-- returns  {webhook, ...}
-- room     not needed
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[2])) do
  local webhook = redis.call('HGET', KEYS[2], id)
  if webhook then
    redis.call('ZADD', KEYS[1], digits(now + tonumber(ARGV[1])), id)
    found[#found + 1] = webhook
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return found
