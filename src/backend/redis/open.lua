-- Finds a namespace, or begins one where there is nothing.
--
-- KEYS: meta, ids, deleted, log, writes, closed. ARGV: of a new one the epoch, the number before the first version, and
-- its tag.

local meta = KEYS[1]
local prefix = sub(meta, 1, -5)
local types = { 'hash', 'zset', 'hash', 'stream', 'hash', 'zset' }

local refusal = no_primary()
if refusal then
    return refusal
end

local beside = false
for n = 1, #KEYS do
    local found = call('TYPE', KEYS[n]).ok
    if found ~= 'none' and found ~= types[n] then
        return { 'foreign', sub(KEYS[n], #prefix + 1), found }
    end
    beside = beside or (n > 1 and found ~= 'none')
end

if redis.acl_check_cmd then
    local value = prefix .. 'v:id'
    local needed = {
        { 'HSET', meta, 'a', 'b' }, { 'HMGET', meta, 'a' }, { 'HGET', meta, 'a' }, { 'HDEL', KEYS[3], 'a' },
        { 'HLEN', KEYS[3] }, { 'HSET', KEYS[3], 'a', 'b' }, { 'HSET', KEYS[5], 'a', 'b' },
        { 'ZADD', KEYS[2], '0', 'a' }, { 'ZREM', KEYS[2], 'a' }, { 'ZCARD', KEYS[2] },
        { 'ZRANGEBYLEX', KEYS[2], '-', '+' }, { 'ZADD', KEYS[6], '0', 'a' }, { 'ZCARD', KEYS[6] },
        { 'ZSCORE', KEYS[6], 'a' }, { 'ZREMRANGEBYLEX', KEYS[6], '-', '+' }, { 'XADD', KEYS[4], '*', 'a', 'b' }, { 'XLEN', KEYS[4] },
        { 'XRANGE', KEYS[4], '-', '+' }, { 'XREVRANGE', KEYS[4], '+', '-' },
        { 'XREAD', 'STREAMS', KEYS[4], '0' }, { 'XTRIM', KEYS[4], 'MAXLEN', '1' },
        { 'SET', value, 'a' }, { 'SETRANGE', value, '2', 'a' }, { 'GET', value }, { 'GETEX', value }, { 'GETRANGE', value, '0', '1' },
        { 'UNLINK', value },
    }
    for _, command in ipairs(needed) do
        -- A commit that was stopped half way could not be taken back.
        if not redis.acl_check_cmd(unpack(command)) then
            return { 'denied', command[1] }
        end
    end
end

local facts = call('HMGET', meta, 'format', 'epoch', 'counter')
if facts[1] then
    if facts[1] ~= '1' then
        return { 'format', facts[1] }
    end
    if not facts[2] or not tonumber(facts[3]) then
        return { 'foreign', 'meta', 'hash without an epoch or a counter' }
    end
    return { 'open', facts[2] }
end
if beside or call('EXISTS', meta) == 1 then
    return { 'foreign', 'meta', 'gap beside other keys of a namespace' }
end
call('HSET', meta, 'format', '1', 'epoch', ARGV[1], 'counter', ARGV[2], 'floor', ARGV[2], 'floor_tag', ARGV[3],
    -- Of earlier write ids it knows nothing; those of an earlier namespace at this place are among them.
    'tag', ARGV[3], 'forgotten', newest_of(ARGV[2], ARGV[3]) .. string.rep('\0', 8))
return { 'open', ARGV[1] }
