local attempt, digest, channel = unpack(ARGV, 3, 5)

local record = read(KEYS[1])
if record.absent then
    -- Perhaps because it was released before.
    touch()
    return answer('gone')
end
if record.unknown then
    return answer('stale')
end
if record.problem then
    return record.problem
end
if record.attempt ~= attempt or record.state ~= 'in flight' then
    return answer('stale')
end
if record.hold then
    redis.call('ZREM', KEYS[3], digest)
end
redis.call('DEL', KEYS[1])
tell(channel, digest)
return answer('accepted')
