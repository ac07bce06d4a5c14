#!lua
-- Applies proposals to accounts that are still as they were when the proposals were decided.
--
-- It does no arithmetic on money and compares versions as text: Lua's numbers lose integers past
-- 2^53. Redis does not roll a script back, so everything is checked before the first write. The
-- first line makes Redis check for itself, before it runs any of this, that it is the primary and
-- takes writes: a replica would answer conflicts and replays from what it happens to have.
--
-- KEYS  every key that is touched; the arguments name them by their number in this list
-- ARGV  1  how long request records are kept, in seconds
--       2  proposals, in MessagePack: a list of
--            { requests key, request field, attempt, fingerprint, record or false, reads, changes }
--            reads:   a list of { account key, entries key, version that was decided on },
--                     that of the account which the request names first before the other
--            changes: a list of { account key, entries key, entry id, entry fields, account fields,
--                                 index keys, account id }
-- Returns { outcomes, accounts }
--       outcomes  for each proposal  0 applied, 1 conflict, 2 request id reused,
--                                    { 'replayed', outcome of the record, entry },
--                                    { 'damaged', message }
--       accounts  { account key, fields } of every account of a proposal that did not apply
--
-- A request record is `<attempt> <fingerprint> <outcome>`; its outcome is the id of the entry that
-- was written, or the refusal in JSON. Records live in one hash for each partition and window of
-- time; a window is as long as records are kept, so the current one and the one before hold them.

local APPLIED, CONFLICT, REUSED = 0, 1, 2
local CLOCK_SKEW_SECONDS_MAX = 300
local ARGUMENTS_MAX = 1000 -- of one command; Lua's stack holds no more than some 8000

local retention = tonumber(ARGV[1])
local proposals = cmsgpack.unpack(ARGV[2])

-- The clock of this Redis: servers may disagree on the time, and after a failover so may Redis.
local now = tonumber(redis.call('TIME')[1])
local skew = math.min(CLOCK_SKEW_SECONDS_MAX, retention)
local window = math.floor(now / retention)
local newest_window = math.floor((now + skew) / retention)

local function hash_set(key, list)
  for i = 1, #list, ARGUMENTS_MAX do
    redis.call('HSET', key, unpack(list, i, math.min(i + ARGUMENTS_MAX - 1, #list)))
  end
end

-- 1. Read what is known of the requests.

local fields_of = {} -- requests key -> fields
for _, proposal in ipairs(proposals) do
  local fields = fields_of[proposal[1]] or {}
  fields_of[proposal[1]] = fields
  fields[#fields + 1] = proposal[2]
end

local records = {}   -- requests key -> field -> record
for key, fields in pairs(fields_of) do
  local found = {}
  for w = window - 1, newest_window do
    for i = 1, #fields, ARGUMENTS_MAX do
      local last = math.min(i + ARGUMENTS_MAX - 1, #fields)
      local values = redis.call('HMGET', KEYS[key] .. ':' .. w, unpack(fields, i, last))
      for place, value in ipairs(values) do
        if value then found[fields[i + place - 1]] = value end
      end
    end
  end
  records[key] = found
end

-- 2. Find the outcome of each proposal, as if those before it were written already.

local version_of = {} -- account key -> version, or false where it cannot be read
local is_sound = {}   -- account key -> whether its history can be written to
local tainted = {}    -- account key -> whether it is of a proposal that does not apply

local function version(account)
  if version_of[account] == nil then
    local value = redis.pcall('HGET', KEYS[account], 'version')
    if type(value) == 'table' then
      version_of[account] = false
    else
      version_of[account] = value or '0'
    end
  end
  return version_of[account]
end

-- Whether the newest entry is the one that the account is at, and not of a later time than the
-- entry to be written after it: only then is the history whole with it, and Redis takes it.
local function has_sound_tail(account, entries, entry_id)
  local tail = redis.pcall('XREVRANGE', KEYS[entries], '+', '-', 'COUNT', 1)
  if tail.err then return false end
  local time, sequence = '0', '0'
  if tail[1] then time, sequence = string.match(tail[1][1], '^(%d+)%-(%d+)$') end
  local entry_time = string.match(entry_id, '^(%d+)%-')
  return sequence == version(account) and entry_time and tonumber(entry_time) >= tonumber(time)
end

-- What is wrong with a place that a change is to be written to, if anything.
local function damage(change)
  local account, entries = change[1], change[2]
  -- Once the first change of a commit is found to fit, those that build on it do.
  if is_sound[account] == nil then is_sound[account] = has_sound_tail(account, entries, change[3]) end
  if not is_sound[account] then
    return KEYS[entries] .. ' does not end at version ' .. version(account)
  end
  for _, index in ipairs(change[6]) do
    local kind = redis.call('TYPE', KEYS[index]).ok
    if kind ~= 'none' and kind ~= 'zset' then return KEYS[index] .. ' is not an index' end
  end
end

local function decide(proposal)
  local record = records[proposal[1]][proposal[2]]
  if record then
    if string.sub(record, 1, 8) == proposal[3] then return APPLIED end
    if string.sub(record, 10, 25) ~= proposal[4] then return REUSED end
    return { 'replayed', string.sub(record, 27) }
  end
  for _, read in ipairs(proposal[6]) do
    if not version(read[1]) then return { 'damaged', KEYS[read[1]] .. ' is not an account' } end
    if version(read[1]) ~= read[3] or tainted[read[1]] then return CONFLICT end
  end
  for _, change in ipairs(proposal[7]) do
    local message = damage(change)
    if message then return { 'damaged', message } end
  end
  return APPLIED
end

local outcomes = {}
local fresh = {}      -- the proposals to write
for i, proposal in ipairs(proposals) do
  local is_known = records[proposal[1]][proposal[2]]
  outcomes[i] = decide(proposal)
  if outcomes[i] ~= APPLIED then
    for _, read in ipairs(proposal[6]) do tainted[read[1]] = true end
  elseif not is_known then
    fresh[#fresh + 1] = proposal
    for _, change in ipairs(proposal[7]) do
      version_of[change[1]] = string.match(change[3], '%-(%d+)$')
    end
    if proposal[5] then records[proposal[1]][proposal[2]] = proposal[5] end
  end
end

-- 3. Write.

local account_fields = {} -- account key -> field -> value, the newest of the whole commit
local new_records = {}    -- requests key -> { field, record, ... }
for _, proposal in ipairs(fresh) do
  for _, change in ipairs(proposal[7]) do
    redis.call('XADD', KEYS[change[2]], change[3], unpack(change[4]))
    local fields = account_fields[change[1]] or {}
    account_fields[change[1]] = fields
    for f = 1, #change[5], 2 do fields[change[5][f]] = change[5][f + 1] end
    for _, index in ipairs(change[6]) do redis.call('ZADD', KEYS[index], 0, change[7]) end
  end
  if proposal[5] then
    local list = new_records[proposal[1]] or {}
    new_records[proposal[1]] = list
    list[#list + 1] = proposal[2]
    list[#list + 1] = proposal[5]
  end
end

for account, fields in pairs(account_fields) do
  local list = {}
  for field, value in pairs(fields) do
    list[#list + 1] = field
    list[#list + 1] = value
  end
  hash_set(KEYS[account], list)
end

for key, list in pairs(new_records) do
  local name = KEYS[key] .. ':' .. window
  hash_set(name, list)
  redis.call('EXPIREAT', name, (window + 2) * retention + skew)
end

-- 4. Answer.

for i, outcome in ipairs(outcomes) do
  if type(outcome) == 'table' and outcome[1] == 'replayed' then
    local is_refusal = string.sub(outcome[2], 1, 1) == '{'
    local entries = KEYS[proposals[i][6][1][2]]
    outcome[3] = is_refusal and {} or redis.pcall('XRANGE', entries, outcome[2], outcome[2])
  end
end

local accounts = {}
for account in pairs(tainted) do
  local fields = redis.pcall('HGETALL', KEYS[account])
  if not fields.err then accounts[#accounts + 1] = { account, fields } end
end

return { outcomes, accounts }
