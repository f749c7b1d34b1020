package quorum

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// Defaults of Config.
const (
	DefaultReplicas   = 3                // N
	DefaultTimeout    = 2 * time.Second  // Timeout
	DefaultMaxSkew    = 10 * time.Second // MaxSkew
	DefaultBackground = 1024             // Background
	DefaultService    = "quorum"         // Service
)

// A Config says how a Store runs. Transport and Ring are required, and Storage
// on every member of the ring; the zero value of the rest is a good default. N,
// R, W, Service and the ring must be the same on all nodes.
type Config struct {
	// Transport carries the messages. Close it after the Store; nodes are
	// called by the names they have in the ring.
	Transport transport.Transport
	// Ring says which nodes own a key. The Store uses the state that it has at
	// Start: a change of members takes effect when the nodes start again, and
	// loses nothing while fewer than W members leave at a time. It
	// has at least max(R, W) members. A node that is not one of them can
	// coordinate reads and writes, and holds nothing.
	Ring *ring.Ring
	// Storage holds the records of this node. Close it, if there is anything
	// to close, after the Store.
	Storage Storage

	// N is the number of owners of a key: 1 to MaxReplicas, default
	// DefaultReplicas. In a ring with fewer members all of them own every key.
	N int
	// R is the number of owners that answer a read: 1 to N, default N/2+1. A
	// read that finds fewer than W owners with the newest version brings it to W
	// before it returns, so it needs max(R, W) owners unless
	// Read.DisableWriteBack says otherwise.
	R int
	// W is the number of owners that hold a write before it is acknowledged:
	// 1 to N, default N/2+1. Acknowledged writes survive the loss of the data of
	// W-1 owners at a time. Writing needs W owners, and N-W+1 that are not
	// recovering.
	W int
	// DisableOverlap allows R+W <= N, with which a read may miss the newest
	// write and may go back behind an earlier read.
	DisableOverlap bool

	// Timeout ends every single call to another node: above 0, default
	// DefaultTimeout. A read or write without a deadline of its own takes at
	// most twice as long.
	Timeout time.Duration
	// MaxSkew is how far ahead of a node's clock a new version may be: above
	// 0, default DefaultMaxSkew. Beyond, the write is refused with a *SkewError,
	// so that one wrong clock cannot draw those of all others along. Clocks that
	// differ by less cost nothing.
	MaxSkew time.Duration
	// Background bounds the calls that go on after the read or write that they
	// belong to has returned, to bring the remaining owners up to date: at least
	// 1, default DefaultBackground. At the bound they are cancelled or not made;
	// later reads repair what they leave.
	Background int
	// Service is the name under which the stores of a cluster talk, so that
	// several can share a transport: default DefaultService.
	Service string
	// Now reads the wall clock: default time.Now. It may jump.
	Now func() time.Time
	// Seed makes the store's random numbers: the delays between retries and the
	// numbers of its lives. 0, the default, draws a seed. Any other must differ at
	// every start of every node: the uniqueness of versions rests on it.
	Seed uint64
	// Logger is told of recovery, its progress and its obstacles: default none.
	Logger *slog.Logger
}

// withDefaults returns the config with its defaults filled in, or an error that
// names the field that is wrong.
func (c Config) withDefaults() (Config, error) {
	c.N = orDefault(c.N, DefaultReplicas)
	c.R = orDefault(c.R, c.N/2+1)
	c.W = orDefault(c.W, c.N/2+1)
	c.Timeout = orDefault(c.Timeout, DefaultTimeout)
	c.MaxSkew = orDefault(c.MaxSkew, DefaultMaxSkew)
	c.Background = orDefault(c.Background, DefaultBackground)
	c.Service = orDefault(c.Service, DefaultService)
	c.Seed = orDefault(c.Seed, rand.Uint64())
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}

	invalid := func(format string, args ...any) (Config, error) {
		return Config{}, fmt.Errorf("%w: Config."+format, append([]any{ErrInvalid}, args...)...)
	}
	switch {
	case c.Transport == nil:
		return invalid("Transport is nil")
	case c.Ring == nil:
		return invalid("Ring is nil")
	case c.N < 1 || c.N > MaxReplicas:
		return invalid("N is %d, it must be 1 to %d", c.N, MaxReplicas)
	case c.R < 1 || c.R > c.N:
		return invalid("R is %d, it must be 1 to N, %d", c.R, c.N)
	case c.W < 1 || c.W > c.N:
		return invalid("W is %d, it must be 1 to N, %d", c.W, c.N)
	case c.R+c.W <= c.N && !c.DisableOverlap:
		return invalid("R and W are %d and %d: together they must exceed N, %d, unless DisableOverlap is set", c.R, c.W, c.N)
	case c.Timeout < 0:
		return invalid("Timeout is %v, it must be above 0", c.Timeout)
	case c.MaxSkew < 0:
		return invalid("MaxSkew is %v, it must be above 0", c.MaxSkew)
	case c.Background < 0:
		return invalid("Background is %d, it must be at least 1", c.Background)
	case len(c.Service) > transport.MaxName:
		return invalid("Service has %d bytes, it may have %d", len(c.Service), transport.MaxName)
	}
	return c, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}

// checkMembers checks what depends on the ring.
func (c Config) checkMembers(table *ring.Snapshot) error {
	if need := max(c.R, c.W); table.Len() < need {
		return fmt.Errorf("%w: Config.Ring has %d members, R and W of %d and %d need %d", ErrInvalid, table.Len(), c.R, c.W, need)
	}
	for node := range table.Nodes() {
		if err := transport.CheckName("node", node.Name); err != nil {
			return fmt.Errorf("%w: Config.Ring: member %q: %w", ErrInvalid, node.Name, err)
		}
	}
	if _, member := table.Node(c.Transport.Local()); member && c.Storage == nil {
		return fmt.Errorf("%w: Config.Storage is nil, and %s is a member of the ring", ErrInvalid, c.Transport.Local())
	}
	return nil
}

// checkKey returns an error for a key that is out of its bounds.
func checkKey(key string) error {
	if len(key) < 1 || len(key) > MaxKey {
		return fmt.Errorf("%w: a key has 1 to %d bytes, this one has %d", ErrInvalid, MaxKey, len(key))
	}
	return nil
}

// checkValue returns an error for a value that is out of its bounds.
func checkValue(value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("%w: a value has at most %d bytes, this one has %d", ErrInvalid, MaxValue, len(value))
	}
	return nil
}
