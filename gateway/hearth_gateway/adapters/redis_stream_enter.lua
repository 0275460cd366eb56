-- Gives: newest id of the stream or '', whether the group is there, what other consumers hold, all that is kept.
redis.call('HSET', state, 'session', session)
local newest, has_group, foreign = '', 0, 0
if redis.call('EXISTS', stream) == 1 then
  newest = member(redis.call('XINFO', 'STREAM', stream), 'last-generated-id')
  for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if member(one, 'name') == group then has_group = 1 end
  end
end
if has_group == 1 then
  for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    if member(one, 'name') ~= CONSUMER then foreign = foreign + member(one, 'pending') end
  end
end
return {newest, has_group, foreign, redis.call('HGETALL', state)}
