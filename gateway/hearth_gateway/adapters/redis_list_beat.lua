-- A sign of life. ARGV 4..: session, time to live (ms), previous run.
if not sign_of_life(ARGV[4], ARGV[5]) then return redis.error_reply('STALE session') end
take_over(ARGV[6])
return next_due()
