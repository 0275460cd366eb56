-- Forget something and do what follows from it. ARGV: stem, recipient, id, then how many follow-ups (six arguments
-- each), letters (six each) and statuses (seven each) there are, and these. Gives how many dead letters were dropped.
if redis.call('HEXISTS', ARGV[1] .. ':' .. ARGV[2] .. ':events', ARGV[3]) == 0 then return 0 end
local at, dropped = 7, 0
for _ = 1, tonumber(ARGV[4]) do
  keep(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  at = at + 6
end
for _ = 1, tonumber(ARGV[5]) do
  dropped = dropped + bury(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  at = at + 6
end
for _ = 1, tonumber(ARGV[6]) do
  note(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
  at = at + 7
end
forget(ARGV[1], ARGV[2], ARGV[3])
return dropped
