#!lua
-- Removes the mark of an import.
--
-- KEYS  the identity in each partition, bank:{n}:meta, from 0 on
-- ARGV  1  the mark
-- Returns 1, or an error TAKENOVER.

if redis.pcall('HGET', KEYS[1], 'bank_id') == ARGV[1] then
  for _, key in ipairs(KEYS) do
    local bank_id = redis.call('HGET', key, 'import_into')
    if bank_id then redis.call('HSET', key, 'bank_id', bank_id) end
    redis.call('HDEL', key, 'import_into')
  end
elseif redis.pcall('HGET', KEYS[1], 'import_over') ~= ARGV[1] then
  return redis.error_reply('TAKENOVER another import has replaced this one')
end
-- Written even if it was before: WAIT may count only what its own connection has written.
redis.call('HSET', KEYS[1], 'import_over', ARGV[1])
return 1
