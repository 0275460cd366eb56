-- Put dead letters into their boxes, each by six arguments. Gives how many others had to go for them. What lies there
-- already is written again, so that whoever waits for the disk then waits for it as well.
local dropped = 0
for at = 1, #ARGV, 6 do
  dropped = dropped + bury(ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
end
return dropped
