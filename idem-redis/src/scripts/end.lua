-- Ends what the attempt has in flight, or, where `from` is 'held', what is held under it; that then
-- belongs to the attempt `after`. Without a ttl it never expires.
local attempt, from, after, state, ttl, digest, channel = unpack(ARGV, 3, 9)
local status, headers, body = unpack(ARGV, 10, 12)

local record = read(KEYS[1])
if record.absent or record.unknown then
    return answer('stale')
end
if record.problem then
    return record.problem
end
if record.attempt == after and record.state == state then
    touch()
    return answer('accepted')
end
local may_end = is_held(record)
if from == 'in flight' then
    may_end = record.state == 'in flight'
end
if record.attempt ~= attempt or not may_end then
    return answer('stale')
end

-- First whatever can fail.
if state == 'held' then
    redis.call('ZADD', KEYS[3], whole(record.drawn), digest)
elseif is_indexed(record) then
    redis.call('ZREM', KEYS[3], digest)
end
redis.call('HSET', KEYS[1], 'state', state, 'attempt', after)
if ttl == '' then
    redis.call('HSET', KEYS[1], 'lease_until', whole(now))
    redis.call('HDEL', KEYS[1], 'expires_at')
    redis.call('PERSIST', KEYS[1])
else
    local expires_at = whole(now + ttl)
    redis.call('HSET', KEYS[1], 'expires_at', expires_at)
    redis.call('PEXPIREAT', KEYS[1], expires_at)
end
if status then
    redis.call('HSET', KEYS[1], 'status', status, 'headers', headers)
end
if body then
    redis.call('HSET', KEYS[1], 'body', body)
end
tell(channel, digest)
return answer('accepted')
