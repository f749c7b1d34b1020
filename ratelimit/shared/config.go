package shared

import (
	"errors"
	"fmt"
	"time"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// The errors of this package, matched with errors.Is.
var (
	// ErrInvalid says that a field of Config is out of its bounds; the text names
	// the field, its value and the bounds. Also that of a key over MaxKey bytes.
	ErrInvalid = errors.New("shared: invalid")
	// ErrUnavailable says that the owner of a key gave no answer and this node
	// has no share of its own to decide with. It comes with the reason.
	ErrUnavailable = errors.New("shared: owner unavailable")
	// ErrFull says that a node has no room for another key (see Config.MaxKeys).
	ErrFull = errors.New("shared: too many keys")
	// ErrClosed says that the Limiter has been closed.
	ErrClosed = errors.New("shared: closed")
)

// Why an owner gave no answer although it was reached.
var (
	errWarming  = errors.New("it waits for the leases of the owner before it to end")
	errNotOwner = errors.New("it does not count itself as the owner")
	errStale    = errors.New("the request was overtaken")
	errBusy     = errors.New("too many requests to it are under way")
	errSilent   = errors.New("its last answers failed to come")
)

// Config says what is limited and how the nodes share it. Transport and Ring are
// required; the zero value of all others is a good default. All nodes must be
// started with the same Limit, Burst, Name, Lease and ring.
type Config struct {
	// Transport carries requests between the nodes. It is not closed by Close.
	Transport transport.Transport
	// Ring says which node owns a key. It may change while the Limiter runs. A
	// node that is not a member can use the limits and owns no keys.
	Ring *ring.Ring
	// Limit is what each key may do, on all nodes together. Default 100 per second.
	Limit ratelimit.Limit
	// Burst is how many tokens the bucket of a key holds: from 1 to what
	// ratelimit.New allows. Default what Limit allows in a second, at least 1.
	// Busy keys need a burst of at least what the limit allows in some round
	// trips, or refills are lost on the way.
	Burst int
	// Name tells this limit from others on the same transport, and is the policy in
	// Decisions: 1 to 64 bytes. Default "default".
	Name string
	// Lease is how long a node may use tokens that it was given in advance: 10 ms
	// to 10 min, default 1 s. A longer one saves requests for slow keys. Tokens of
	// a node that crashes are lost for as long; a new owner waits for 9/8 of it.
	// Tokens unused for half of it are given back.
	Lease time.Duration
	// Timeout bounds the wait for the owner: 1 ms to Lease, default 100 ms or
	// Lease, if that is shorter. A request waits as long, before that, where 256
	// for the same owner are under way. Only the first request that an owner does
	// not answer waits for so long; later ones for that key fail at once, or are
	// decided by the share, and it is tried again beside them.
	Timeout time.Duration
	// FailClosed refuses with ErrUnavailable what needs an owner that cannot be
	// asked. Otherwise each member of the ring decides for itself then, with an
	// equal part of Limit and Burst, at least one token. The package's
	// documentation has the bound for either.
	FailClosed bool
	// Forgive lets a new owner, and a node's own share after a start, begin with
	// full buckets instead of empty ones. It is meant for limits so slow that
	// users would notice the wait for the first token after each deployment. The
	// package's documentation has what it costs.
	Forgive bool
	// MaxKeys is how many keys a node can use at a time and, apart from that, own:
	// 1 to 100 million, default 100,000. About 400 bytes for a key in use, and 250
	// for one that is owned. With more, new ones are refused with ErrFull; no key
	// that is limited is ever forgotten for them.
	MaxKeys int
	// Seed is mixed into the number by which owners tell one life of this node
	// from the next; the time of the start makes them differ without it.
	Seed uint64
}

const (
	minLease   = 10 * time.Millisecond
	maxLease   = 10 * time.Minute
	minTimeout = time.Millisecond
	maxKeys    = 100_000_000
	maxName    = 64 // bytes
)

// withDefaults returns c with its defaults in place, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Transport == nil {
		return c, invalid("Transport", nil, "given")
	}
	if c.Ring == nil {
		return c, invalid("Ring", nil, "given")
	}
	if c.Limit == (ratelimit.Limit{}) {
		c.Limit = ratelimit.Per(100, time.Second)
	}
	if c.Burst == 0 {
		c.Burst = perSecond(c.Limit)
	}
	if _, err := ratelimit.New(c.Limit, c.Burst); err != nil {
		return c, fmt.Errorf("%w: Config: %w", ErrInvalid, err)
	}
	if c.Name == "" {
		c.Name = "default"
	}
	if len(c.Name) > maxName {
		return c, invalid("Name", c.Name, "1 to 64 bytes long")
	}
	if c.Lease == 0 {
		c.Lease = time.Second
	}
	if c.Lease < minLease || c.Lease > maxLease {
		return c, invalid("Lease", c.Lease, "from 10ms to 10m")
	}
	if c.Timeout == 0 {
		c.Timeout = min(c.Lease, 100*time.Millisecond)
	}
	if c.Timeout < minTimeout || c.Timeout > c.Lease {
		return c, invalid("Timeout", c.Timeout, "from 1ms to Lease")
	}
	if c.MaxKeys == 0 {
		c.MaxKeys = 100_000
	}
	if c.MaxKeys < 1 || c.MaxKeys > maxKeys {
		return c, invalid("MaxKeys", c.MaxKeys, "from 1 to 100000000")
	}
	return c, nil
}

// perSecond returns what a limit allows in a second, at least 1.
func perSecond(l ratelimit.Limit) int {
	if l.Period <= 0 || l.Events <= 0 {
		return 1 // the limit is refused below
	}
	b := bucket{}
	b.fill(time.Second, rateOf(l, 1), 1<<31-1)
	return int(max(1, b.tokens))
}

func invalid(field string, value any, bound string) error {
	return fmt.Errorf("%w: Config.%s is %v: must be %s", ErrInvalid, field, value, bound)
}
