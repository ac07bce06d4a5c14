#!lua
-- Runs commands as one, if the bank is still marked with the import that they are part of.
--
-- Each can be run again: an entry that is there already is not added.
--
-- KEYS  1  what says which bank this is
-- ARGV  1  the mark
--       then for each command how many words it has, and its words: one that writes to a key of the bank.
--       All of it is on one Redis; the keys are not declared, as there are more than a call takes.
-- Returns 1, or an error TAKENOVER

if redis.pcall('HGET', KEYS[1], 'bank_id') ~= ARGV[1] then return redis.error_reply('TAKENOVER another import has taken the place of this one') end
local i = 2
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  local is_there = ARGV[i + 1] == 'XADD' and #redis.call('XRANGE', ARGV[i + 2], ARGV[i + 3], ARGV[i + 3]) > 0
  if not is_there then redis.call(unpack(ARGV, i + 1, last)) end
  i = last + 1
end
-- Something is written even where all was there: WAIT may count only what its own connection has written.
redis.call('HSET', KEYS[1], 'bank_id', ARGV[1])
return 1
