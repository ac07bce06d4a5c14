#!lua
-- Applies proposals to accounts that have not changed since the proposals were decided.
--
-- It does no arithmetic on money and compares nothing but text: Lua's numbers lose integers past 2^53.
--
-- KEYS  Every key that is touched, also if it does not exist yet: while Redis Cluster moves a slot, only declared keys are
--       looked for on both nodes. The arguments refer to a key by its number in this list. The history of an account
--       comes right after the account.
--       1  the identity of the bank: bank:{n}:meta
--       2  bank:{n}:barrier
--       At the end, for each group of requests, the set of its windows and then the records of each window.
-- ARGV  1  how long request records are kept, in seconds
--       2  the length of a window of request records, in seconds
--       3  the id of the bank that the proposals are for
--       4  '1' to write the barrier: WAIT is sure to count only what its own connection has written, and a commit
--          may have nothing else to write
--       5  the time of the server when it sent this, in milliseconds like all that follow
--       6  when the first of the proposals was decided
--       7  how far clocks may be apart
--       8  how long a commit may take
--       9  the first window whose records are in KEYS
--       10 how many windows there are
--       11 four flat lists in MessagePack (nested ones cost more):
--          groups    for each partition: its first request and its last
--          requests  the fields of all requests, those of one partition together
--          starts    where each proposal begins in `words`
--          words     the proposals, below
--
-- `words` is addressed by offsets; names for them would cost time. A proposal, at its start `p`:
--
--   p                        its request: a place in `requests`
--   p + 1                    the record of its request
--   p + 2                    0 a plan, 1 a rejection, 2 a rejection that leaves no record
--   p + 3                    1 if it is linked to the next one: a chain is applied whole or not at all; else 0
--   p + 4                    n, the number of accounts that it was decided on
--   p + 5 ...                for each of them two words: its key, and its head when the proposal was decided
--   p + 5 + 2 * n            the number of changes, and then the changes
--
-- A change, at its start `change`:
--
--   change                   the key of the account
--   change + 1               the length of the history before this entry
--   change + 2               the id of the entry
--   change + 3               the text of the entry
--   change + 4               the hash of the entry, as bytes
--   change + 5               the balance of the account, with this change
--   change + 6               the head of the account, with this change
--   change + 7               n, the number of words that follow
--   change + 8 ...           names and values of other fields of the account
--   change + 8 + n           m, the number of words that follow, 0 or
--   change + 8 + n + 1 ...   keys of indexes, and last the account id, which becomes a member of them
--
-- The head of an account is the hash of its newest entry, as text; empty if there is no account.
--
-- Returns { exceptions, accounts, begun, time, problem }, or one of these errors, and then nothing was done:
--       WRONGBANK   with the id of the bank that is here
--       CLOCKOFF    the clocks are too far apart; with the time of this Redis
--       CLOCKBACK   the clock of this Redis is behind the newest commit; with the time of that
--       exceptions  for each proposal that is not simply applied: its number, and
--                   1 conflict, 2 request id reused, 3 abandoned, { outcome, entry } as recorded, or what is damaged
--       accounts    { account key, fields } of every account of a proposal that did not apply
--       begun       the numbers of the groups for which a window of records was begun: expired ones can be removed
--       time        of this Redis, in seconds; it was compared with that of the server
--       problem     what Redis refused half way through the writes; empty if it refused nothing
--
-- A request record is `<attempt> <fingerprint> <outcome> <recorded at>`. Its outcome is the id of the entry that was
-- written, or the rejection in JSON; the time is in seconds. Each partition has one hash of records for each window
-- of time. Those windows are read that can hold a record that has not expired. A set lists the windows.
--
-- Redis does not roll a script back. What it could refuse is checked before: that an account and an index have the
-- right type, that a history is as long as its account says and, where entries go to several, that none has a later
-- entry. The entries of a chain are written before the rest of it. One is still refused if somebody added a later
-- entry by hand and removed it again, which leaves its id behind. Then the other entries of the chain are removed;
-- their histories take the next entry a millisecond later, for the same reason.

-- Why a proposal is not applied.
local CONFLICT, REUSED, ABANDONED = 1, 2, 3

-- Kinds of proposals; a rejection that leaves a record is 1.
local PLAN, UNRECORDED = 0, 2

local CLOCK_SKEW_SECONDS_MAX = 300
local ARGUMENTS_MAX = 1000 -- of one command; Lua's stack holds no more than some 8000

-- Looked up once: globals are slower.
local call, try, unpack, sub, floor = redis.call, redis.pcall, unpack, string.sub, math.floor
local KEYS = KEYS

local meta = try('HMGET', KEYS[1], 'bank_id', 'committed_at')
local bank_id, committed_at = meta[1], tonumber(meta[2] or '')
if bank_id ~= ARGV[3] then
  return redis.error_reply('WRONGBANK ' .. (type(bank_id) == 'string' and bank_id or ''))
end

-- Entries have the time of the server that decided them, and records expire by the clock of this Redis. So the two
-- clocks are compared here and now: whichever is wrong, no entry is dated and no record is removed by it.
local time = call('TIME')
local now, now_ms = tonumber(time[1]), time[1] * 1000 + floor(time[2] / 1000)
local sent_at, decided_at = tonumber(ARGV[5]), tonumber(ARGV[6])
local offset_max, commit_max = tonumber(ARGV[7]), tonumber(ARGV[8])
if now_ms < sent_at - offset_max or now_ms > sent_at + offset_max + commit_max then
  return redis.error_reply(string.format('CLOCKOFF %.0f', now_ms))
end
if committed_at and now_ms < committed_at - offset_max then
  return redis.error_reply(string.format('CLOCKBACK %.0f', committed_at))
end
-- What was decided longer ago, or by a clock that was ahead, has to be decided again: its entries would have a wrong time.
local is_untimely = now_ms < decided_at - offset_max or now_ms > decided_at + offset_max + commit_max

local retention = tonumber(ARGV[1])
local window_length = tonumber(ARGV[2])
local first_window, windows_count = tonumber(ARGV[9]), tonumber(ARGV[10])
local groups, requests, starts, words = cmsgpack.unpack(ARGV[11])

local skew = math.min(CLOCK_SKEW_SECONDS_MAX, window_length)
local window = floor(now / window_length)
local oldest, newest_window = floor((now - retention) / window_length), floor((now + skew) / window_length)
if oldest < first_window or newest_window >= first_window + windows_count then
  return redis.error_reply(string.format('CLOCKOFF %.0f', now_ms))
end

-- The key of the windows of a group; that of the records of window `w` is `w - first_window + 1` further on.
local groups_at = #KEYS + 1 - #groups / 2 * (windows_count + 1)
local function windows_key(group)
  return groups_at + (group - 1) * (windows_count + 1)
end

-- 1. Read the records of the requests.

local records = {} -- request -> record
for w = oldest, newest_window do
  for group = 1, #groups / 2 do
    local name, last_request = KEYS[windows_key(group) + w - first_window + 1], groups[2 * group]
    for first = groups[2 * group - 1], last_request, ARGUMENTS_MAX do
      local last = math.min(first + ARGUMENTS_MAX - 1, last_request)
      local found = call('HMGET', name, unpack(requests, first, last))
      for place = 1, last - first + 1 do
        if found[place] then records[first + place - 1] = found[place] end
      end
    end
  end
end

-- 2. Find the outcome of each proposal, after those before it, and write entries.

local heads = {}      -- account -> its head, or false if it cannot be read
local is_sound = {}   -- account -> whether its history can be written to
local tainted = {}    -- account -> whether a proposal on it was not applied
local outcomes = {}   -- proposal -> why it is not simply applied
local is_new = {}     -- request -> whether its record is to be written
local newest = {}     -- account -> its last change

local function read_head(account)
  local head = try('HGET', KEYS[account], 'hash')
  if not head then
    head = ''
  elseif type(head) == 'table' then
    head = false
  end
  heads[account] = head
  return head
end

-- The place of the first change of a proposal, and how many there are.
local function changes_of(p)
  local at = p + 5 + 2 * words[p + 4]
  return at + 1, words[at]
end

-- Where the change after this one begins.
local function change_after(change)
  local at = change + 8 + words[change + 7]
  return at + words[at] + 1
end

-- What is wrong with the keys that a change writes to, if anything.
local function damage(change, is_alone)
  local account = words[change]
  -- Once the first change of a commit is found to fit, those that build on it do.
  if is_sound[account] == nil then
    is_sound[account] = try('XLEN', KEYS[account + 1]) == words[change + 1]
  end
  -- Redis refuses an entry that is not the last: a single one may be tried, of several all must fit.
  if not is_alone and is_sound[account] and not newest[account] then
    local time = string.match(words[change + 2], '^%d+')
    local before = string.format('%s-%d', time, words[change + 1])
    is_sound[account] = not try('XREAD', 'COUNT', 1, 'STREAMS', KEYS[account + 1], before)
  end
  if not is_sound[account] then
    return KEYS[account + 1] .. ' does not end with the newest entry of the account'
  end
  local indexes = change + 8 + words[change + 7]
  for index = indexes + 1, indexes + words[indexes] - 1 do
    local kind = call('TYPE', KEYS[words[index]]).ok
    if kind ~= 'none' and kind ~= 'zset' then return KEYS[words[index]] .. ' is not an index' end
  end
end

-- Why a proposal is not applied, if there is a reason. The keys that it writes to are checked only if all of its
-- chain before it can be written: they would have changed by then.
local function decide(p, is_alone, is_whole)
  local record = records[words[p]]
  if record then
    local own = words[p + 1]
    if sub(record, 18, 33) ~= sub(own, 18, 33) then return REUSED end -- another fingerprint
    if sub(record, 1, 16) == sub(own, 1, 16) then return nil end      -- the same attempt: it was applied
    return { string.match(record, '^(.+) %d+$', 35) }
  end
  if is_untimely then return CONFLICT end
  for at = p + 5, p + 3 + 2 * words[p + 4], 2 do
    local account = words[at]
    local head = heads[account] or read_head(account)
    if not head then return KEYS[account] .. ' is not an account' end
    if head ~= words[at + 1] or tainted[account] then return CONFLICT end
  end
  if not is_whole then return nil end
  local change, count = changes_of(p)
  is_alone = is_alone and count == 1
  for _ = 1, count do
    local message = damage(change, is_alone)
    if message then return message end
    change = change_after(change)
  end
end

-- Goes on as if a proposal were written.
local function assume_written(p)
  local change, count = changes_of(p)
  for _ = 1, count do
    heads[words[change]] = words[change + 6]
    change = change_after(change)
  end
end

local function add_entry(change)
  local history, id = KEYS[words[change] + 1], words[change + 2]
  return try('XADD', history, id, 'entry', words[change + 3], 'hash', words[change + 4])
end

-- Removes the entries of a chain again, from its first proposal up to the one whose entry was refused.
local function remove_entries(first, last, refused)
  for i = first, last do
    local change, count = changes_of(starts[i])
    for _ = 1, count do
      if change == refused then return end
      local history = KEYS[words[change] + 1]
      call('XDEL', history, words[change + 2])
      if call('XLEN', history) == 0 then call('DEL', history) end
      change = change_after(change)
    end
  end
end

-- Writes the entries of a chain, all or none. Returns the proposal that has one refused, if any.
local function add_entries(first, last)
  for i = first, last do
    local change, count = changes_of(starts[i])
    for _ = 1, count do
      local added = add_entry(change)
      if type(added) == 'table' then
        if not string.find(added.err, 'equal or smaller', 1, true) then error(added) end
        remove_entries(first, i, change)
        local account = words[change]
        is_sound[account] = false
        outcomes[i] = KEYS[account + 1] .. ' has had a later entry than the newest of the account'
        return i
      end
      change = change_after(change)
    end
  end
end

-- Writes what else a proposal changes, except what is written once for the whole commit.
local function apply(p)
  local change, count = changes_of(p)
  for _ = 1, count do
    local account, fields = words[change], words[change + 7]
    newest[account] = change
    if fields > 0 then
      call('HSET', KEYS[account], unpack(words, change + 8, change + 7 + fields))
    end
    local indexes = change + 8 + fields
    local member = indexes + words[indexes]
    for index = indexes + 1, member - 1 do call('ZADD', KEYS[words[index]], 0, words[member]) end
    change = change_after(change)
  end
  if words[p + 2] ~= UNRECORDED then
    records[words[p]] = words[p + 1]
    is_new[words[p]] = true
  end
end

local function restore_heads(heads_before)
  for account, head in pairs(heads_before) do heads[account] = head end
end

-- Decides and writes a chain of proposals, from the first to the last: most chains have one.
local function settle(first, last)
  local is_recorded, is_whole, rejection = false, true, nil
  local heads_before = last > first and {}
  for i = first, last do
    local p = starts[i]
    if heads_before then
      for at = p + 5, p + 3 + 2 * words[p + 4], 2 do
        local account = words[at]
        if heads_before[account] == nil then heads_before[account] = heads[account] or read_head(account) end
      end
    end
    outcomes[i] = decide(p, not heads_before, is_whole)
    if records[words[p]] then
      is_recorded = true
    elseif heads_before or not outcomes[i] then
      assume_written(p)
    end
    if outcomes[i] then is_whole = false end
    if words[p + 2] ~= PLAN then rejection = rejection or i end
  end

  if is_whole and not is_recorded then
    if rejection and heads_before then
      restore_heads(heads_before)
      for i = first, last do
        if i ~= rejection then outcomes[i] = ABANDONED end
      end
      return apply(starts[rejection])
    end
    if not add_entries(first, last) then
      for i = first, last do apply(starts[i]) end
      return
    end
  end

  if heads_before then restore_heads(heads_before) end
  local is_applied = true
  for i = first, last do
    if not records[words[starts[i]]] and (is_recorded or not outcomes[i]) then outcomes[i] = ABANDONED end
    if outcomes[i] then is_applied = false end
  end
  if is_applied then return end
  for i = first, last do
    local p = starts[i]
    for at = p + 5, p + 3 + 2 * words[p + 4], 2 do tainted[words[at]] = true end
  end
end

-- 3. Write what is written once for the whole commit: accounts, and the records of each partition.

local function write_accounts()
  for account, change in pairs(newest) do
    call('HSET', KEYS[account], 'balance', words[change + 5], 'newest', words[change + 2],
      'hash', words[change + 6])
  end
end

local begun = {}

local function write_records()
  local written, lists = {}, {}
  for group = 1, #groups / 2 do
    local list, n = {}, 0
    for request = groups[2 * group - 1], groups[2 * group] do
      if is_new[request] then
        list[n + 1], list[n + 2] = requests[request], records[request]
        n = n + 2
      end
    end
    if n > 0 then
      written[#written + 1], lists[#written + 1] = group, list
    end
  end
  local names, known = {}, 0
  for i, group in ipairs(written) do names[i] = KEYS[windows_key(group) + window - first_window + 1] end
  for i = 1, #names, ARGUMENTS_MAX do
    known = known + call('EXISTS', unpack(names, i, math.min(i + ARGUMENTS_MAX - 1, #names)))
  end
  -- If every hash exists, so does its window in the set: most commits need no SADD.
  for n, name in ipairs(names) do
    local list = lists[n]
    for i = 1, #list, ARGUMENTS_MAX do
      call('HSET', name, unpack(list, i, math.min(i + ARGUMENTS_MAX - 1, #list)))
    end
    if known < #names and call('SADD', KEYS[windows_key(written[n])], window) == 1 then
      begun[#begun + 1] = written[n]
    end
  end
end

local function write()
  if ARGV[4] == '1' then call('SET', KEYS[2], now) end
  local first = 1
  for i = 1, #starts do
    if words[starts[i] + 3] == 0 or i == #starts then
      settle(first, i)
      first = i + 1
    end
  end
  write_accounts()
  write_records()
  -- Precise enough, and most commits need not write it.
  if next(is_new) and (not committed_at or now_ms >= committed_at + 1000) then
    call('HSET', KEYS[1], 'committed_at', string.format('%.0f', now_ms))
  end
end

-- Only a user without permission for one of these commands makes this fail.
local is_written, problem = pcall(write)
if not is_written then
  return { {}, {}, {}, now, type(problem) == 'table' and problem.err or tostring(problem) }
end

-- 4. Reply.

local exceptions = {}
for i, outcome in pairs(outcomes) do
  if type(outcome) == 'table' then
    local is_rejection = sub(outcome[1], 1, 1) == '{'
    local history = KEYS[words[starts[i] + 5] + 1]
    local found = not is_rejection and try('XRANGE', history, outcome[1], outcome[1])
    outcome[2] = found and not found.err and found or {}
  end
  exceptions[#exceptions + 1] = i
  exceptions[#exceptions + 1] = outcome
end

local accounts = {}
for account in pairs(tainted) do
  local fields = try('HGETALL', KEYS[account])
  if not fields.err then accounts[#accounts + 1] = { account, fields } end
end

return { exceptions, accounts, begun, now, '' }
