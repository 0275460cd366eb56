-- Change a record and make it due again. ARGV: stem, recipient, id, record, due time ('' leaves it where it is).
local base = ARGV[1] .. ':' .. ARGV[2]
if redis.call('HEXISTS', base .. ':events', ARGV[3]) == 0 then return 0 end
redis.call('HSET', base .. ':events', ARGV[3], ARGV[4])
if ARGV[5] ~= '' then redis.call('ZADD', base .. ':due', ARGV[5], ARGV[3]) end
return 1
