#!lua
-- Removes the mark of an import.
--
-- KEYS  1  bank:meta
-- ARGV  1  the mark
-- Returns 1, or an error TAKENOVER.

local bank_id = redis.pcall('HGET', KEYS[1], 'bank_id')
if bank_id == ARGV[1] then
  redis.call('HSET', KEYS[1], 'bank_id', redis.call('HGET', KEYS[1], 'import_into'), 'import_over', ARGV[1])
  redis.call('HDEL', KEYS[1], 'import_into')
  return 1
end
if redis.pcall('HGET', KEYS[1], 'import_over') == ARGV[1] then
  -- Written again: WAIT may count only what its own connection has written.
  redis.call('HSET', KEYS[1], 'import_over', ARGV[1])
  return 1
end
return redis.error_reply('TAKENOVER another import has replaced this one')
