package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/parley-go/parley/ratelimit"
)

// ErrInvalid says that a field of Config is out of its bounds; the text names the
// field, its value and the bounds.
var ErrInvalid = errors.New("ratelimit/redis: invalid")

// Config says what is limited. The zero value is a good default. All programs that
// share keys must use the same.
type Config struct {
	// Limit is what each key may do. Default 100 per second.
	Limit ratelimit.Limit
	// Burst is how many tokens the bucket of a key holds; bounds as for
	// ratelimit.New, and Burst times Limit.Period in nanoseconds, divided by what
	// Period and 1,000 times Events have in common, is at most 2^52. Default what
	// Limit allows in a second, at least 1.
	Burst int
	// Name is the policy in Decisions. Default "default".
	Name string
	// Prefix stands before each key on the server. Default "ratelimit:", Name, ":".
	Prefix string
}

// A Store decides by token buckets on a Redis server. It is a ratelimit.Store. All
// methods are safe for concurrent use. It owns nothing: there is nothing to close.
type Store struct {
	client     goredis.Scripter
	config     Config
	script     *goredis.Script
	gain, each int64 // units that come back in a microsecond, and that make a token
}

var _ ratelimit.Store = (*Store)(nil)

//go:embed take.lua
var source string // constant: the script

// exact is what a Lua number holds exactly, with room for a sum.
const exact = 1 << 52

// New returns a Store that uses client, such as a *redis.Client of
// github.com/redis/go-redis/v9, which stays the caller's. Nothing is sent yet.
// The error is ErrInvalid and names the field.
func New(client goredis.Scripter, config Config) (*Store, error) {
	if client == nil {
		return nil, fmt.Errorf("%w: client is nil", ErrInvalid)
	}
	if config.Limit == (ratelimit.Limit{}) {
		config.Limit = ratelimit.Per(100, time.Second)
	}
	if config.Burst == 0 {
		perSecond := float64(config.Limit.Events) * float64(time.Second) / float64(config.Limit.Period)
		config.Burst = int(max(1, min(1<<31-1, perSecond)))
	}
	if _, err := ratelimit.New(config.Limit, config.Burst); err != nil {
		return nil, fmt.Errorf("%w: Config: %w", ErrInvalid, err)
	}
	if config.Name == "" {
		config.Name = "default"
	}
	if config.Prefix == "" {
		config.Prefix = "ratelimit:" + config.Name + ":"
	}
	s := &Store{client: client, config: config, script: goredis.NewScript(source)}
	if int64(config.Limit.Events) > exact/1000 {
		return nil, fmt.Errorf("%w: Config.Limit.Events is %d: must be at most 2^52/1000", ErrInvalid, config.Limit.Events)
	}
	s.gain, s.each = int64(config.Limit.Events)*1000, int64(config.Limit.Period)
	g := gcd(s.gain, s.each)
	s.gain, s.each = s.gain/g, s.each/g
	switch most := (exact - s.gain) / s.each; {
	case most < 1:
		return nil, fmt.Errorf("%w: Config.Limit is %v: Period in nanoseconds, divided by what it and 1000 times Events have in common, must be at most 2^52", ErrInvalid, config.Limit)
	case int64(config.Burst) > most:
		return nil, fmt.Errorf("%w: Config.Burst is %d: must be at most %d at %v", ErrInvalid, config.Burst, most, config.Limit)
	}
	return s, nil
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Take takes n tokens of the key's, all or none. n of 0 or less is allowed and
// takes nothing; more than the burst is never allowed and asks nobody. It costs
// one round trip, bounded by the client's time-outs, and by ctx if the client's
// ContextTimeoutEnabled is set: otherwise go-redis looks at ctx before it sends
// and between its retries, and waits for an answer as long as ReadTimeout says.
//
// An error is that of ctx, of the client or of the server, and says that nothing
// could be decided; if the answer was lost on the way, tokens may have been taken,
// by each of the client's retries.
func (s *Store) Take(ctx context.Context, key string, n int) (ratelimit.Decision, error) {
	d := ratelimit.Decision{Limit: s.config.Limit, Burst: s.config.Burst, Policy: s.config.Name}
	if n > s.config.Burst {
		d.RetryAfter = ratelimit.Never
		return d, ctx.Err()
	}
	answer, err := s.script.Run(ctx, s.client, []string{s.config.Prefix + key}, s.gain, s.each, s.config.Burst, max(0, n)).Int64Slice()
	if err != nil {
		return ratelimit.Decision{}, fmt.Errorf("ratelimit/redis: %w", err)
	}
	if len(answer) != 3 {
		return ratelimit.Decision{}, fmt.Errorf("ratelimit/redis: the server answered with %d numbers, want 3", len(answer))
	}
	d.Allowed = answer[0] == 1
	d.Remaining = int(answer[1])
	d.RetryAfter = time.Duration(answer[2]) * time.Microsecond
	return d, nil
}
