#!lua
-- Applies proposals to accounts that are still as they were when the proposals were decided.
--
-- It does no arithmetic on money, reads none and compares nothing but text: Lua's numbers lose
-- integers past 2^53.
-- Redis does not roll a script back, so everything is checked before the first write.
--
-- KEYS  every key that is touched; the arguments name them by their number in this list
--       1  what says which bank this is
--       2  the barrier
-- ARGV  1  how long request records are kept, in seconds
--       2  how long a window of request records is, in seconds
--       3  proposals, in MessagePack: a list of
--            { requests key, request field, attempt, fingerprint, record or false, reads, changes,
--              whether it is linked to the next, whether it is a refusal }
--            reads:   a list of { account key, entries key, stamp that was decided on }
--            changes: a list of { account key, entries key, entry id, entry fields, account fields,
--                                 index keys, account id, stamp with the change }
--       4  the hash of each entry of each change, in order: 32 bytes each
--       5  the id of the bank that the proposals are for
--       6  '1' to write the barrier: WAIT is sure to count only what its own connection has written,
--          and a commit may have nothing else to write
-- Returns { outcomes, accounts, problem }, or an error WRONGBANK with the id of the bank that is here
--       outcomes  for each proposal  0 applied, 1 conflict, 2 request id reused,
--                                    { 'replayed', outcome, entry }, { 'damaged', message },
--                                    3 abandoned
--       accounts  { account key, fields } of every account of a proposal that did not apply
--       problem   what Redis refused half way through the writes; empty where it refused nothing
--
-- A stamp is the hash of the account's newest entry, which all of the account follows from; empty for
-- no account. An account holds it as text, an entry as bytes.
--
-- A request record is `<attempt> <fingerprint> <outcome> <recorded at>`; its outcome is the id of the
-- entry that was written, or the refusal in JSON; the time is in seconds. Records live in one hash for
-- each partition and window of time; those are looked at that can hold a record which is not too old.

local APPLIED, CONFLICT, REUSED, ABANDONED = 0, 1, 2, 3
local CLOCK_SKEW_SECONDS_MAX = 300
local HASH_LENGTH = 32
local ARGUMENTS_MAX = 1000 -- of one command; Lua's stack holds no more than some 8000

local bank_id = redis.pcall('HGET', KEYS[1], 'bank_id')
if bank_id ~= ARGV[5] then
  return redis.error_reply('WRONGBANK ' .. (type(bank_id) == 'string' and bank_id or ''))
end

local retention = tonumber(ARGV[1])
local window_length = tonumber(ARGV[2])
local proposals = cmsgpack.unpack(ARGV[3])

-- The clock of this Redis: servers may disagree on the time, and after a failover so may Redis.
local clock = redis.call('TIME')[1]
local now = tonumber(clock)
local skew = math.min(CLOCK_SKEW_SECONDS_MAX, window_length)
local window = math.floor(now / window_length)
local oldest_window = math.floor((now - retention) / window_length)
local newest_window = math.floor((now + skew) / window_length)

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
  for w = oldest_window, newest_window do
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

local stamp_of = {}   -- account key -> stamp, or false where it cannot be read
local newest_of = {}  -- account key -> the id of its newest entry as stored, or false
local is_sound = {}   -- account key -> whether its history can be written to
local tainted = {}    -- account key -> whether it is of a proposal that does not apply

local function stamp(account)
  if stamp_of[account] == nil then
    local stored = redis.pcall('HMGET', KEYS[account], 'hash', 'updated_at', 'version')
    if stored.err then
      stamp_of[account] = false
    elseif stored[1] then
      stamp_of[account] = stored[1]
      newest_of[account] = (stored[2] or '') .. '-' .. (stored[3] or '')
    else
      stamp_of[account] = ''
      newest_of[account] = false
    end
  end
  return stamp_of[account]
end

-- Whether the history ends with the account's newest entry, and has never taken a later one: only
-- then is it whole with the next entry, and Redis takes that.
local function has_sound_tail(account, entries)
  local info = redis.pcall('XINFO', 'STREAM', KEYS[entries])
  if info.err then
    return not newest_of[account] and redis.call('EXISTS', KEYS[entries]) == 0
  end
  local found = {}
  for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
  local last = found['last-entry'] and found['last-entry'][1]
  return last == newest_of[account] and found['last-generated-id'] == newest_of[account]
end

-- What is wrong with a place that a change is to be written to, if anything.
local function damage(change)
  local account, entries = change[1], change[2]
  -- Once the first change of a commit is found to fit, those that build on it do.
  if is_sound[account] == nil then is_sound[account] = has_sound_tail(account, entries) end
  if not is_sound[account] then
    return KEYS[entries] .. ' does not end with the newest entry of the account'
  end
  for _, index in ipairs(change[6]) do
    local kind = redis.call('TYPE', KEYS[index]).ok
    if kind ~= 'none' and kind ~= 'zset' then return KEYS[index] .. ' is not an index' end
  end
end

local function decide(proposal)
  local record = records[proposal[1]][proposal[2]]
  if record then
    if string.sub(record, 18, 33) ~= proposal[4] then return REUSED end
    if string.sub(record, 1, 16) == proposal[3] then return APPLIED end
    return { 'replayed', string.match(record, '^(.+) %d+$', 35) }
  end
  for _, read in ipairs(proposal[6]) do
    if not stamp(read[1]) then return { 'damaged', KEYS[read[1]] .. ' is not an account' } end
    if stamp(read[1]) ~= read[3] or tainted[read[1]] then return CONFLICT end
  end
  for _, change in ipairs(proposal[7]) do
    local message = damage(change)
    if message then return { 'damaged', message } end
  end
  return APPLIED
end

local entry_hashes = {} -- change -> the hash of its entry
local hashes_end = 0
for _, proposal in ipairs(proposals) do
  for _, change in ipairs(proposal[7]) do
    entry_hashes[change] = string.sub(ARGV[4], hashes_end + 1, hashes_end + HASH_LENGTH)
    hashes_end = hashes_end + HASH_LENGTH
  end
end

local outcomes = {}
local fresh = {}      -- the proposals to write

local function accept(proposal)
  fresh[#fresh + 1] = proposal
  if proposal[5] then
    proposal[5] = proposal[5] .. ' ' .. clock
    records[proposal[1]][proposal[2]] = proposal[5]
  end
end

-- A chain of proposals, from the first to the last: most are of one.
local function settle(first, last)
  local stamps_before = {}
  local is_recorded, is_whole, refused = false, true, false
  for i = first, last do
    local proposal = proposals[i]
    local record = records[proposal[1]][proposal[2]]
    outcomes[i] = decide(proposal)
    is_recorded = is_recorded or record
    is_whole = is_whole and outcomes[i] == APPLIED
    if proposal[9] and not refused then refused = i end
    for _, change in ipairs(record and {} or proposal[7]) do
      local account = change[1]
      if stamps_before[account] == nil then stamps_before[account] = stamp(account) end
      stamp_of[account] = change[8]
    end
  end

  if not is_recorded and is_whole and not (refused and last > first) then
    for i = first, last do accept(proposals[i]) end
    return
  end

  for account, before in pairs(stamps_before) do stamp_of[account] = before end
  if not is_recorded and is_whole then
    for i = first, last do outcomes[i] = ABANDONED end
    outcomes[refused] = APPLIED
    accept(proposals[refused])
    return
  end

  local is_applied = true
  for i = first, last do
    local proposal = proposals[i]
    local has_record = records[proposal[1]][proposal[2]]
    if not has_record and (is_recorded or outcomes[i] == APPLIED) then outcomes[i] = ABANDONED end
    if outcomes[i] ~= APPLIED then is_applied = false end
  end
  if is_applied then return end
  for i = first, last do
    for _, read in ipairs(proposals[i][6]) do tainted[read[1]] = true end
  end
end

local first = 1
for i, proposal in ipairs(proposals) do
  if not proposal[8] then
    settle(first, i)
    first = i + 1
  end
end

-- 3. Write.

local function write()
  if ARGV[6] == '1' then redis.call('SET', KEYS[2], now) end
  local account_fields = {} -- account key -> field -> value, the newest of the whole commit
  local new_records = {}    -- requests key -> { field, record, ... }
  for _, proposal in ipairs(fresh) do
    for _, change in ipairs(proposal[7]) do
      local fields = change[4]
      fields[#fields + 1] = 'hash'
      fields[#fields + 1] = entry_hashes[change]
      redis.call('XADD', KEYS[change[2]], change[3], unpack(fields))
      local newest = account_fields[change[1]] or {}
      account_fields[change[1]] = newest
      for f = 1, #change[5], 2 do newest[change[5][f]] = change[5][f + 1] end
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
    -- Partitions expire one after another, so that Redis never stands still for all of them.
    local partition = tonumber(string.match(name, '{(%d+)}'))
    local spread = math.floor(partition * window_length / 65536)
    redis.call('EXPIREAT', name, (window + 1) * window_length + retention + skew + spread)
  end
end

-- Only a user without leave for one of these commands makes this fail.
local is_written, problem = pcall(write)
if not is_written then
  return { {}, {}, type(problem) == 'table' and problem.err or tostring(problem) }
end

-- 4. Answer.

for i, outcome in ipairs(outcomes) do
  if type(outcome) == 'table' and outcome[1] == 'replayed' then
    local is_refusal = string.sub(outcome[2], 1, 1) == '{'
    local entries = KEYS[proposals[i][6][1][2]]
    local found = not is_refusal and redis.pcall('XRANGE', entries, outcome[2], outcome[2])
    outcome[3] = found and not found.err and found or {}
  end
end

local accounts = {}
for account in pairs(tainted) do
  local fields = redis.pcall('HGETALL', KEYS[account])
  if not fields.err then accounts[#accounts + 1] = { account, fields } end
end

return { outcomes, accounts, '' }
