-- Takes n tokens from the bucket KEYS[1], all or none.
--
-- A bucket is "level each time": how far it is filled, in units of which a token
-- is `each`, at a time of this server in microseconds. All numbers are whole and
-- below 2^53, where Lua's are exact.
local gain, each, burst, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local size = burst * each
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local level = size
local state = redis.call('GET', KEYS[1])
if state then
	local was, unit, at = string.match(state, '^(%d+) (%d+) (%d+)$')
	if not was then
		return redis.error_reply('ERR ' .. KEYS[1] .. ' is not a bucket of this package')
	end
	level, unit, at = tonumber(was), tonumber(unit), tonumber(at)
	if unit ~= each then -- of another limit
		level = math.floor(level / unit * each)
	end
	local elapsed = math.max(0, now - at) -- the clock may have been set back
	if elapsed >= math.ceil(size / gain) then
		level = size
	else
		level = math.min(size, level + elapsed * gain)
	end
end

local lacking = n * each - level
if lacking > 0 then
	return {0, math.floor(level / each), math.ceil(lacking / gain)}
end
level = level - n * each
if n > 0 then
	-- It is full, and no different from none, after this time.
	local fills = math.ceil((size - level) / gain / 1000) + 1
	redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', level, each, now), 'PX', string.format('%.0f', fills))
end
return {1, math.floor(level / each), 0}
