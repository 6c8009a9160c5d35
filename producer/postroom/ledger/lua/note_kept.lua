-- note_kept: notes what is about to be kept for a letter, before the letter itself is recorded: so that it is found if
--            it never is.
-- KEYS     1 what was kept
-- ARGV     1 id and digests
-- returns  1 when it was not noted before, else 0
-- room     needed
return redis.call('ZADD', KEYS[1], digits(now), ARGV[1])
