-- note_kept: notes what is about to be kept for letters, before the letters themselves are recorded: so that it is
--            found if they never are.
-- KEYS     1 what was kept
-- ARGV     1 of each letter a line: id and digests
-- returns  1
-- room     needed
for noted in ARGV[1]:gmatch('[^\n]+') do redis.call('ZADD', KEYS[1], digits(now), noted) end
return 1
