-- Takes n tokens from the bucket KEYS[1], all or none.
--
-- A bucket is "level each time": how far it is filled, in units of which a token
-- is `each`, at a time of this server in microseconds. All numbers are whole and
-- below 2^53, where Lua's are exact.
local gain, each, burst, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local size = burst * each
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- It is full, and no different from none, some time after `level`.
local function save(level)
	local fills = math.ceil((size - level) / gain / 1000) + 1
	redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', level, each, now), 'PX', string.format('%.0f', fills))
end

local level, behind = size, false
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
	behind = now < at -- the clock has been set back, or is another server's
	local elapsed = math.max(0, now - at)
	if elapsed >= math.ceil(size / gain) then
		level = size
	else
		level = math.min(size, level + elapsed * gain)
	end
end

local lacking = n * each - level
if lacking > 0 then
	if behind then -- or nothing would come back until the clock is where it was
		save(level)
	end
	return {0, math.floor(level / each), math.ceil(lacking / gain)}
end
level = level - n * each
if n > 0 or behind then
	save(level)
end
return {1, math.floor(level / each), 0}
