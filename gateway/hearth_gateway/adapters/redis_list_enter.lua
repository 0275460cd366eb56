-- Begin a session. ARGV 4..: session, time to live (ms), previous run, ids to keep.
local keep = {}
for i = 7, #ARGV do keep[ARGV[i]] = true end
sign_of_life(ARGV[4], ARGV[5])
restore(owner, keep)
take_over(ARGV[6])
return next_due()
