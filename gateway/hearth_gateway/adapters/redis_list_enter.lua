-- Begin a session. ARGV 4..: session, time to live (ms), previous run, ids to keep.
local keep = {}
for i = 7, #ARGV do keep[ARGV[i]] = true end
if not sign_of_life(ARGV[4], ARGV[5]) then return redis.error_reply('STALE session') end
restore(owner, keep)
take_over(ARGV[6])
return next_due()
