-- Judges every entry of a commit, then applies all of them or none.
--
-- KEYS: meta, ids, deleted, log, writes, closed; then the key of each entry's value.
-- ARGV: how many commits are kept, the tag, the write id or nothing, the commit's fingerprint; then of each entry what is
-- done and expected, and for a put also its record: from behind the version on (`p`), or all of it, still without its number (`P`).
--
-- Redis takes nothing back: all that can fail comes before the entry of the log, or harms nothing where it stops the script.

local pack = struct.pack
local meta, ids, deleted, log, writes, closed = unpack(KEYS, 1, 6)
local kept, tag, write, fingerprint = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local entries = #KEYS - 6
local name_at = #meta - 1

local NONE = '\0\0\0\0\0\0\0\0'
local FIRST = '\0\0\0\0\0\0\0\1'
local RECORD = '\2\0'

local refusal = no_primary()
if refusal then
    return refusal
end

local facts = call('HMGET', meta, 'format', 'counter', 'tag', 'forgotten')
if facts[1] ~= '1' then
    return { 'place', facts[1] or '' }
end

if write ~= '' then
    local known = call('HGET', writes, write)
    if known then
        if sub(known, 1, 8) ~= fingerprint then
            return { 'reused' }
        end
        local receipts = receipts_of(log, known)
        return receipts and { 'applied', receipts } or { 'unknown' }
    end
    if call('ZSCORE', closed, write) then
        return { 'closed' }
    end
    local newest = newest_of(facts[2], facts[3])
    if outside(write, newest, facts[4]) then
        return { 'outside', newest }
    end
end

local actions, versions, bodies, whole, refused = {}, {}, {}, {}, {}
local changes, comes_or_goes = false, false
local next_argument = 5
for n = 1, entries do
    local key, spec = KEYS[6 + n], ARGV[next_argument]
    local action, expected = sub(spec, 1, 1), sub(spec, 2, 2)
    next_argument = next_argument + 1
    if action == 'p' or action == 'P' then
        action, whole[n] = 'p', action == 'P'
        bodies[n] = next_argument
        next_argument = next_argument + 1
    end
    local head = call('GETRANGE', key, 0, 9)
    local version = false
    if head ~= '' then
        version = sub(head, 3)
        if sub(head, 1, 2) ~= RECORD or #version < 8 or version == NONE then
            if #version < 8 or version == NONE then
                version = FIRST
            end
            -- Only who names what is damaged may write over it.
            if sub(spec, 2) ~= 'v' .. version then
                return { 'damaged', n - 1, call('GET', key) }
            end
        end
    end
    local holds = expected == '*' or (expected == '0' and not version) or (expected == '1' and version)
        or (expected == 'v' and version == sub(spec, 3))
    if not holds then
        refused[#refused + 1] = n - 1
        refused[#refused + 1] = version and call('GET', key) or ''
        refused[#refused + 1] = not version and call('HGET', deleted, sub(key, name_at)) or ''
    end
    actions[n], versions[n] = action, version
    changes = changes or action == 'p' or (action == 'd' and version)
    comes_or_goes = comes_or_goes or (action == 'p' and not version) or (action == 'd' and version)
end
if #refused > 0 then
    return { 'conflict', refused }
end

local function answer(version)
    local receipts = {}
    for n = 1, entries do
        local replaced = versions[n] or NONE
        local now = actions[n] == 'c' and replaced or (actions[n] == 'p' or versions[n]) and version or NONE
        receipts[#receipts + 1] = now
        receipts[#receipts + 1] = replaced
    end
    return table.concat(receipts)
end

if not changes and write == '' then
    return { 'applied', answer(NONE) }
end
local counter = tonumber(facts[2])
if not counter or counter >= LAST then
    return { 'exhausted' }
end
if comes_or_goes then
    -- They fail here, and not half way, where somebody put something else in their place.
    call('ZCARD', ids)
    call('HLEN', deleted)
end
counter = counter + 1
local position = string.format('%.0f', counter)
local version = pack('>I5', counter) .. tag
local receipts = answer(version)

local line = { 't', tag }
if write ~= '' then
    line[3], line[4], line[5], line[6] = 'w', write, 'a', receipts
end
for n = 1, entries do
    if actions[n] == 'p' or (actions[n] == 'd' and versions[n]) then
        line[#line + 1] = actions[n]
        line[#line + 1] = sub(KEYS[6 + n], name_at)
    end
end

-- What leaves the log takes its write id and its deletions along. Only now and then, which costs less a commit.
local leaving = counter % 16 == 0 and math.min(call('XLEN', log) + 1 - kept, 64) or 0

-- Somebody may have told the server since to drop keys where memory runs out. Only now and then: it costs half a commit.
if counter % 16 == 0 then
    local told = redis.pcall('INFO', 'memory')
    told = type(told) == 'string' and told or ''
    local policy = string.match(told, 'maxmemory_policy:([%w-]+)') or 'not told'
    if policy ~= 'noeviction' and sub(policy, 1, 8) ~= 'volatile' and not string.find(told, 'maxmemory:0\r', 1, true) then
        return { 'evicts', policy }
    end
end

-- The rights of the user may have been narrowed since the namespace was opened: the entry of the log, as a number without one
-- is a gap to who watches, and what comes after it. A right to the keys is a matter of the whole script, and `HSET` stops it
-- with the counter.
local function denied(...)
    return redis.acl_check_cmd and not redis.acl_check_cmd(...)
end
if denied('XADD', log, '*', 'a', 'b')
    or (changes and (denied('SET', KEYS[7], '') or denied('SETRANGE', KEYS[7], 2, '')))
    or (comes_or_goes and (denied('ZADD', ids, 0, '') or denied('ZREM', ids, '') or denied('UNLINK', KEYS[7])))
    or ((comes_or_goes or leaving > 0) and denied('HDEL', deleted, ''))
    or (leaving > 0 and (denied('XRANGE', log, '-', '+') or denied('XTRIM', log, 'MAXLEN', 1)
        or denied('ZREMRANGEBYLEX', closed, '-', '+'))) then
    return redis.error_reply('NOPERM the user may not run all that a commit needs')
end

-- The counter first: a number that is left out ends watches, and one that the log has already stops every later commit.
call('HSET', meta, 'counter', position, 'tag', tag)
call('XADD', log, position .. '-0', unpack(line))
if write ~= '' then
    call('HSET', writes, write, fingerprint .. position)
end
for n = 1, entries do
    local key, action = KEYS[6 + n], actions[n]
    if action == 'p' then
        if whole[n] then
            call('SET', key, ARGV[bodies[n]])
            call('SETRANGE', key, 2, sub(version, 1, 5))
        else
            call('SET', key, RECORD .. version .. ARGV[bodies[n]])
        end
        if not versions[n] then
            call('ZADD', ids, 0, sub(key, name_at))
            call('HDEL', deleted, sub(key, name_at))
        end
    elseif action == 'd' and versions[n] then
        call('UNLINK', key)
        call('ZREM', ids, sub(key, name_at))
        call('HSET', deleted, sub(key, name_at), version)
    end
end

if leaving > 0 then
    local forgotten, number, gone, deletions = facts[4] or string.rep('\0', 16), nil, {}, {}
    local oldest = call('XRANGE', log, '-', '+', 'COUNT', leaving)
    for _, entry in ipairs(oldest) do
        local line = entry[2]
        number = string.match(entry[1], '^%d+')
        for at = 3, #line, 2 do
            local name, text = line[at], line[at + 1]
            if name == 'w' then
                gone[#gone + 1] = text
                if above(text, forgotten) then
                    forgotten = text
                end
            elseif name == 'd' and call('HGET', deleted, text) == pack('>I5', tonumber(number)) .. line[2] then
                deletions[#deletions + 1] = text
            end
        end
    end
    -- How far back memory reaches is told before anything is forgotten.
    call('HSET', meta, 'floor', number, 'floor_tag', oldest[#oldest][2][2], 'forgotten', forgotten)
    for _, id in ipairs(deletions) do
        call('HDEL', deleted, id)
    end
    if #gone > 0 then
        call('HDEL', writes, unpack(gone))
        call('ZREMRANGEBYLEX', closed, '-', '[' .. forgotten)
    end
    call('XTRIM', log, 'MINID', string.format('%.0f', number + 1))
end
return { 'applied', receipts }
