-- KEYS[1] is the index of a shard: its next records from a fence on, and their fences.
local from, limit = ARGV[3], ARGV[4]
local found = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
return answer('found', unpack(found))
