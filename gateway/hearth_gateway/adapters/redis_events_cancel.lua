-- Forget what is due and note it. ARGV: function, id, then the six arguments of the note after the function's name.
local base = ASYNC .. ':' .. ARGV[1]
local score = redis.call('ZSCORE', base .. ':due', ARGV[2])
if not score or redis.call('HEXISTS', base .. ':events', ARGV[2]) == 0 then return 'gone' end
if tonumber(score) >= TAKEN then return 'running' end
note(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
forget(ASYNC, ARGV[1], ARGV[2])
return 'cancelled'
