-- KEYS[1] is the index of a shard, and the others are records that it has, of which ARGV[3] and
-- following are the digests: those that are held.
local reply = answer('found')
for i = 2, #KEYS do
    local digest = ARGV[i + 1]
    local record = read(KEYS[i])
    if record.absent or (not record.problem and not is_indexed(record)) then
        -- Somebody deleted the record, and perhaps it was claimed anew.
        redis.call('ZREM', KEYS[1], digest)
    elseif record.problem and not record.unknown then
        return record.problem
    elseif not record.problem and is_held(record) then
        local operation, scope, key =
            unpack(redis.call('HMGET', KEYS[i], 'operation', 'scope', 'key'))
        if not (operation and scope and key) then
            return answer('damaged', 'fields')
        end
        local held_for = whole(math.max(now - record.lease_until, 0))
        for _, value in ipairs({digest, operation, scope, key, record.attempt, record.fence,
            whole(record.number), held_for}) do
            reply[#reply + 1] = value
        end
    end
end
return reply
