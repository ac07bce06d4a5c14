#!lua
-- Applies proposals to accounts that are still as they were when the proposals were decided.
--
-- It does no arithmetic on money, reads none and compares nothing but text: Lua's numbers lose
-- integers past 2^53.
--
-- KEYS  every key that is touched; the arguments name them by their number in this list. The history
--       of an account comes right after it
--       1  what says which bank this is
--       2  the barrier
-- ARGV  1  how long request records are kept, in seconds
--       2  how long a window of request records is, in seconds
--       3  the id of the bank that the proposals are for
--       4  '1' to write the barrier: WAIT is sure to count only what its own connection has written,
--          and a commit may have nothing else to write
--       5  the time at the server as this was sent, in milliseconds like all that follow
--       6  when the proposals were decided
--       7  how far clocks may be off
--       8  how long a commit may take
--       9  four lists in MessagePack, each flat, since what is nested costs more:
--          groups    for each partition: its requests key, its first request and its last
--          requests  the fields of all requests, those of one partition together
--          starts    where each proposal begins in `words`
--          words     for each proposal, at its start
--                      +0 its request, by its place in `requests`
--                      +1 its record
--                      +2 PLAN, REFUSAL, or FORGOTTEN for a refusal that leaves no record
--                      +3 1 if it is linked to the next, else 0
--                      +4 how many accounts it was decided on; then for each
--                         its key, the stamp that was decided on
--                    then how many changes it has; then for each
--                      +0 the account's key
--                      +1 how many entries there are before
--                      +2 the id of the entry, +3 its text, +4 its hash
--                      +5 the balance of the account, +6 its stamp, both with the change
--                      +7 how many words follow: other fields of the account that change
--                      then how many words of indexes follow: their keys, and last the account's id
--                      as a member of them
-- Returns { outcomes, accounts, problem }, or one of these errors, and then nothing was done:
--       WRONGBANK   with the id of the bank that is here
--       CLOCKOFF    the server has another time; with that of this Redis
--       CLOCKBACK   this Redis has gone back in time; with that of the newest commit
--       outcomes  of the proposals that are not simply applied, the number and
--                   1 conflict, 2 request id reused, 3 abandoned, { outcome, entry } as recorded,
--                   or why it is damaged
--       accounts  { account key, fields } of every account of a proposal that did not apply
--       problem   what Redis refused half way through the writes; empty where it refused nothing
--
-- A stamp is the hash of the account's newest entry, which all of the account follows from; empty for
-- no account. An account holds it as text, an entry as bytes.
--
-- A request record is `<attempt> <fingerprint> <outcome> <recorded at>`; its outcome is the id of the
-- entry that was written, or the refusal in JSON; the time is in seconds. Records live in one hash for
-- each partition and window of time; those are looked at that can hold a record which is not too old. Which
-- windows there are is in a set, under the name of the hashes without the window.
--
-- Redis does not roll a script back. What it could refuse is made sure of before: that an account and
-- an index are what they should be, that a history is as long as its account says and, where entries
-- go to several, that none has a later entry. The entries of a chain are written before all else of it.
-- One is still refused where somebody added a later entry by hand and removed it again, which leaves
-- its id behind. Those of the same chain are taken back then; their histories take the next entry a
-- millisecond later, for the same reason.

local CONFLICT, REUSED, ABANDONED = 1, 2, 3
local PLAN, FORGOTTEN = 0, 2
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

-- Entries are dated by the servers, and records of requests age by the clock of this Redis. So both are held to the
-- other, here and now: whichever is wrong, nothing is dated or forgotten by it.
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
-- What was decided longer ago, or with a clock that was ahead, is decided again, so that nothing is dated so.
local is_untimely = now_ms < decided_at - offset_max or now_ms > decided_at + offset_max + commit_max

local retention = tonumber(ARGV[1])
local window_length = tonumber(ARGV[2])
local groups, requests, starts, words = cmsgpack.unpack(ARGV[9])

local skew = math.min(CLOCK_SKEW_SECONDS_MAX, window_length)
local window = floor(now / window_length)

-- 1. Read what is known of the requests.

local records = {} -- request -> record
for w = floor((now - retention) / window_length), floor((now + skew) / window_length) do
  local suffix = ':' .. w
  for g = 1, #groups, 3 do
    local name = KEYS[groups[g]] .. suffix
    for first = groups[g + 1], groups[g + 2], ARGUMENTS_MAX do
      local last = math.min(first + ARGUMENTS_MAX - 1, groups[g + 2])
      local found = call('HMGET', name, unpack(requests, first, last))
      for place = 1, last - first + 1 do
        if found[place] then records[first + place - 1] = found[place] end
      end
    end
  end
end

-- 2. Find the outcome of each proposal, after those before it, and write entries.

local stamp_of = {}   -- account -> stamp, or false where it cannot be read
local is_sound = {}   -- account -> whether its history can be written to
local tainted = {}    -- account -> whether it is of a proposal that does not apply
local outcomes = {}   -- proposal -> why it is not simply applied
local is_new = {}     -- request -> whether its record is to be written
local newest = {}     -- account -> its last change

local function stamp(account)
  local stored = try('HGET', KEYS[account], 'hash')
  if not stored then
    stored = ''
  elseif type(stored) == 'table' then
    stored = false
  end
  stamp_of[account] = stored
  return stored
end

-- What is wrong with a place that a change is to be written to, if anything.
local function damage(change, is_alone)
  local account = words[change]
  -- Once the first change of a commit is found to fit, those that build on it do.
  if is_sound[account] == nil then
    is_sound[account] = try('XLEN', KEYS[account + 1]) == words[change + 1]
  end
  -- Redis would refuse what does not come last: one entry may be tried, of several all must fit.
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

-- Where the change after this one begins.
local function after(change)
  local indexes = change + 8 + words[change + 7]
  return indexes + words[indexes] + 1
end

-- Why a proposal is not applied, if there is a reason. Places to write to are looked at only if all of
-- its chain before it can be written: they would have changed by then.
local function decide(p, is_alone, is_whole)
  local record = records[words[p]]
  if record then
    local own = words[p + 1]
    if sub(record, 18, 33) ~= sub(own, 18, 33) then return REUSED end
    if sub(record, 1, 16) == sub(own, 1, 16) then return nil end
    return { string.match(record, '^(.+) %d+$', 35) }
  end
  if is_untimely then return CONFLICT end
  local at = p + 5
  for _ = 1, words[p + 4] do
    local account = words[at]
    local stamp = stamp_of[account] or stamp(account)
    if not stamp then return KEYS[account] .. ' is not an account' end
    if stamp ~= words[at + 1] or tainted[account] then return CONFLICT end
    at = at + 2
  end
  if not is_whole then return nil end
  local change = at + 1
  is_alone = is_alone and words[at] == 1
  for _ = 1, words[at] do
    local message = damage(change, is_alone)
    if message then return message end
    change = after(change)
  end
end

-- Where the first change of a proposal begins, and how many it has.
local function changes(p)
  local at = p + 5 + 2 * words[p + 4]
  return at + 1, words[at]
end

-- Goes on as if a proposal were written.
local function foresee(p)
  local change, count = changes(p)
  for _ = 1, count do
    stamp_of[words[change]] = words[change + 6]
    change = after(change)
  end
end

local function add(change)
  local history, id = KEYS[words[change] + 1], words[change + 2]
  return try('XADD', history, id, 'entry', words[change + 3], 'hash', words[change + 4])
end

-- Takes back the entries of a chain from its first proposal up to the one whose entry was refused.
local function take_back(first, last, refused)
  for i = first, last do
    local change, count = changes(starts[i])
    for _ = 1, count do
      if change == refused then return end
      local history = KEYS[words[change] + 1]
      call('XDEL', history, words[change + 2])
      if call('XLEN', history) == 0 then call('DEL', history) end
      change = after(change)
    end
  end
end

-- Writes the entries of a chain, all or none. Returns the proposal that has one refused, if any.
local function append(first, last)
  for i = first, last do
    local change, count = changes(starts[i])
    for _ = 1, count do
      local added = add(change)
      if type(added) == 'table' then
        if not string.find(added.err, 'equal or smaller', 1, true) then error(added) end
        take_back(first, i, change)
        is_sound[words[change]] = false
        outcomes[i] = KEYS[words[change] + 1] .. ' has taken a later entry than the newest of the account'
        return i
      end
      change = after(change)
    end
  end
end

-- Keeps all of a proposal but its entries.
local function keep(p)
  local change, count = changes(p)
  for _ = 1, count do
    local account, others = words[change], words[change + 7]
    newest[account] = change
    if others > 0 then call('HSET', KEYS[account], unpack(words, change + 8, change + 7 + others)) end
    local indexes = change + 8 + others
    local member = indexes + words[indexes]
    for index = indexes + 1, member - 1 do call('ZADD', KEYS[words[index]], 0, words[member]) end
    change = after(change)
  end
  if words[p + 2] ~= FORGOTTEN then
    records[words[p]] = words[p + 1]
    is_new[words[p]] = true
  end
end

local function take_back_stamps(stamps)
  for account, before in pairs(stamps) do stamp_of[account] = before end
end

-- A chain of proposals, from the first to the last: most are of one.
local function settle(first, last)
  local is_recorded, is_whole, refusal = false, true, nil
  local stamps_before = last > first and {}
  for i = first, last do
    local p = starts[i]
    if stamps_before then
      for at = p + 5, p + 3 + 2 * words[p + 4], 2 do
        local account = words[at]
        if stamps_before[account] == nil then stamps_before[account] = stamp_of[account] or stamp(account) end
      end
    end
    outcomes[i] = decide(p, not stamps_before, is_whole)
    if records[words[p]] then
      is_recorded = true
    elseif stamps_before or not outcomes[i] then
      foresee(p)
    end
    if outcomes[i] then is_whole = false end
    if words[p + 2] ~= PLAN then refusal = refusal or i end
  end

  if is_whole and not is_recorded then
    if refusal and stamps_before then
      take_back_stamps(stamps_before)
      for i = first, last do
        if i ~= refusal then outcomes[i] = ABANDONED end
      end
      return keep(starts[refusal])
    end
    if not append(first, last) then
      for i = first, last do keep(starts[i]) end
      return
    end
  end

  if stamps_before then take_back_stamps(stamps_before) end
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

-- 3. Write what comes once for the whole commit: accounts, and the records of each partition.

local function write_accounts()
  for account, change in pairs(newest) do
    call('HSET', KEYS[account],
      'balance', words[change + 5], 'newest', words[change + 2], 'hash', words[change + 6])
  end
end

-- Removes the windows of a partition that are too old. Redis is not told to let them expire: it would as soon as its
-- clock jumped, and requests that were carried out would be carried out again.
local function forget(windows)
  local oldest = floor((now - retention - skew) / window_length)
  for _, begun in ipairs(call('SMEMBERS', windows)) do
    if tonumber(begun) < oldest then
      call('UNLINK', windows .. ':' .. begun)
      call('SREM', windows, begun)
    end
  end
end

local function write_records()
  local names, windows, lists, suffix = {}, {}, {}, ':' .. window
  for g = 1, #groups, 3 do
    local list, n = {}, 0
    for request = groups[g + 1], groups[g + 2] do
      if is_new[request] then
        list[n + 1], list[n + 2] = requests[request], records[request]
        n = n + 2
      end
    end
    if n > 0 then
      names[#names + 1] = KEYS[groups[g]] .. suffix
      windows[#names], lists[#names] = KEYS[groups[g]], list
    end
  end
  local known = 0
  for i = 1, #names, ARGUMENTS_MAX do
    known = known + call('EXISTS', unpack(names, i, math.min(i + ARGUMENTS_MAX - 1, #names)))
  end
  for n, name in ipairs(names) do
    local list = lists[n]
    for i = 1, #list, ARGUMENTS_MAX do
      call('HSET', name, unpack(list, i, math.min(i + ARGUMENTS_MAX - 1, #list)))
    end
    if known < #names and call('SADD', windows[n], window) == 1 then forget(windows[n]) end
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
  -- Close enough, and most commits need not write it.
  if next(is_new) and (not committed_at or now_ms >= committed_at + 1000) then
    call('HSET', KEYS[1], 'committed_at', string.format('%.0f', now_ms))
  end
end

-- Only a user without leave for one of these commands makes this fail.
local is_written, problem = pcall(write)
if not is_written then
  return { {}, {}, type(problem) == 'table' and problem.err or tostring(problem) }
end

-- 4. Answer.

local told = {}
for i, outcome in pairs(outcomes) do
  if type(outcome) == 'table' then
    local is_refusal = sub(outcome[1], 1, 1) == '{'
    local history = KEYS[words[starts[i] + 5] + 1]
    local found = not is_refusal and try('XRANGE', history, outcome[1], outcome[1])
    outcome[2] = found and not found.err and found or {}
  end
  told[#told + 1] = i
  told[#told + 1] = outcome
end

local accounts = {}
for account in pairs(tainted) do
  local fields = try('HGETALL', KEYS[account])
  if not fields.err then accounts[#accounts + 1] = { account, fields } end
end

return { told, accounts, '' }
