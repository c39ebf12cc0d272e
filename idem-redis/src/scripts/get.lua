local record = read(KEYS[1])
if record.problem then
    return record.problem
end
if record.absent or is_expired(record) then
    return answer('absent')
end
return answer('record', record.fingerprint, is_held(record) and 'held' or record.state, record.attempt,
    record.fence, whole(record.number), unpack(redis.call('HMGET', KEYS[1], 'status', 'headers', 'body')))
