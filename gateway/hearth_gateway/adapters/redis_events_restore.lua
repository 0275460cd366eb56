-- Make what is taken due again. ARGV: stem, recipient, now, ids that stay taken.
local due, stays = ARGV[1] .. ':' .. ARGV[2] .. ':due', {}
for at = 4, #ARGV do stays[ARGV[at]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, TAKEN, '+inf')) do
  if not stays[id] then redis.call('ZADD', due, ARGV[3], id) end
end
return 1
