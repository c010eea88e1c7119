/**
 * Compares the state of the server with the one that the marker was written in. A missing marker
 * (an empty or flushed server) and another state are a loss, from the server's present time on.
 *
 * KEYS: marker. ARGV: state, id for a new marker, `1` if nothing can have been used before, `1` if
 * values were lost in any case. Returns the id of the marker and the time of the last loss.
 */
export const markText = `
local found = redis.call('HMGET', KEYS[1], 'state', 'id', 'lostAt')
if found[1] == ARGV[1] and found[2] and found[3] and ARGV[4] ~= '1' then
  return {found[2], found[3]}
end
local time = redis.call('TIME')
local lostAt = time[1] * 1000 + math.floor(time[2] / 1000)
if not found[1] and ARGV[3] == '1' then lostAt = 0 end
if found[3] and tonumber(found[3]) > lostAt then lostAt = tonumber(found[3]) end
local text = string.format('%.0f', lostAt)
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'id', ARGV[2], 'lostAt', text)
return {ARGV[2], text}
`

/**
 * Claims a value, if the marker is still the one that the caller knows: a flush since then took
 * marker and values alike. KEYS: marker, value. ARGV: id of the marker, window in milliseconds.
 * Returns 1 for the first claim, 0 for a repeated one, -1 for another marker.
 */
export const claimText = `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return -1 end
if redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2]) then return 1 end
return 0
`

/**
 * Counts one request in a window that begins with the first. KEYS: counter. ARGV: window in
 * milliseconds. Returns the count and the milliseconds that are left of the window.
 */
export const spendText = `
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
`
