package tcp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-go/parley/transport"
)

// A Config says how a Transport works. Either TLS or Plaintext must be set; all
// else has a default. It is copied by Listen and never changed.
type Config struct {
	// TLS has this node's certificate and the authorities that sign those of its
	// peers (RootCAs; ClientCAs, if different, for those who dial in). It is
	// cloned and hardened: TLS 1.3, certificates from both sides, each naming
	// its node (see Credentials for how). Certificates may be rotated through
	// GetCertificate and GetClientCertificate; both are needed if either is set.
	TLS *tls.Config
	// Plaintext switches encryption and authentication off: every peer is who it
	// says it is. For trusted networks and tests.
	Plaintext bool

	// Resolve returns the address, host:port, of a node. Default: the name is
	// the address. It runs before each dial and must return soon: Close waits
	// for it.
	Resolve func(name string) (addr string, err error)
	// Logger gets connections made and lost (Info), refused and failed ones
	// (Warn). Default: none.
	Logger *slog.Logger

	// MaxMessage is the largest body in bytes. Default transport.DefaultMaxMessage;
	// from 1 KiB to 256 MiB. Between two nodes the smaller one counts. A peer can
	// make this node hold up to 16 half-received messages.
	MaxMessage int
	// MaxQueue is how many bytes may wait to be written to one peer before Send
	// and Call answer ErrOverflow, and how many bytes of requests from one peer
	// may be in the hands of handlers before its calls do. Default 16 MiB or
	// four times MaxMessage, whichever is more; from MaxMessage + 64 KiB to 1 GiB.
	MaxQueue int
	// ReadBuffer is how many bytes the kernel may hold, received and not yet read,
	// for each connection: what a small message may have to wait behind. A long,
	// fast path carries no more than this per round trip. Default 256 KiB; from
	// 16 KiB to 64 MiB.
	ReadBuffer int
	// MaxCalls is how many calls may be in flight to one peer, and how many may
	// wait for a connection to it. Of one peer's requests, twice as many are
	// taken on at once, for a handler may outlast its call. Default 4096; from 1
	// to 65536. Between two nodes the smaller one counts.
	MaxCalls int
	// MaxPeers is how many peers this node knows at once, whoever dialled. One
	// more gets ErrOverflow, or is refused. Default 1024; from 1 to 65536.
	MaxPeers int
	// MaxHandshakes is how many accepted connections may be at their handshake
	// at once; one more is closed. Default 128; from 1 to 65536.
	MaxHandshakes int

	// DialTimeout bounds making a TCP connection, HandshakeTimeout the
	// handshake after it, on both sides. Default 3 s each; from 1 ms to 10 min.
	DialTimeout, HandshakeTimeout time.Duration
	// KeepAlive is the longest silence: a peer from which nothing comes for this
	// long is given up. Each side pings at a quarter of the smaller of both
	// values. Default 5 s; from 10 ms to 1 h.
	KeepAlive time.Duration
	// StallTimeout is for how long a peer that is alive may take nothing while
	// something waits to be written to it, because it is overrun or one of its
	// handlers of one-way messages blocks. Then it is given up. Default 30 s;
	// from 10 ms to 1 h.
	StallTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause after a failed connection, in
	// which Send and Call answer ErrUnreachable at once. It doubles with every
	// failure and is drawn from its upper half; a connection from the peer ends
	// it. Default 50 ms and 2 s; from 1 ms to 1 h.
	MinBackoff, MaxBackoff time.Duration
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxMessage, transport.DefaultMaxMessage)
	setDefault(&c.MaxQueue, max(16<<20, 4*c.MaxMessage))
	setDefault(&c.ReadBuffer, 256<<10)
	setDefault(&c.MaxCalls, 4096)
	setDefault(&c.MaxPeers, 1024)
	setDefault(&c.MaxHandshakes, 128)
	setDefault(&c.DialTimeout, 3*time.Second)
	setDefault(&c.HandshakeTimeout, 3*time.Second)
	setDefault(&c.KeepAlive, 5*time.Second)
	setDefault(&c.StallTimeout, 30*time.Second)
	setDefault(&c.MinBackoff, 50*time.Millisecond)
	setDefault(&c.MaxBackoff, max(2*time.Second, c.MinBackoff))
	if c.Resolve == nil {
		c.Resolve = func(name string) (string, error) { return name, nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() error {
	var errs []error
	if (c.TLS == nil) != c.Plaintext {
		errs = append(errs, errors.New("tcp: Config needs either TLS or Plaintext: true"))
	}
	errs = append(errs,
		checkBounds("MaxMessage", c.MaxMessage, 1<<10, 1<<28),
		checkBounds("MaxQueue", c.MaxQueue, c.MaxMessage+64<<10, 1<<30),
		checkBounds("ReadBuffer", c.ReadBuffer, 16<<10, 64<<20),
		checkBounds("MaxCalls", c.MaxCalls, 1, 1<<16),
		checkBounds("MaxPeers", c.MaxPeers, 1, 1<<16),
		checkBounds("MaxHandshakes", c.MaxHandshakes, 1, 1<<16),
		checkBounds("DialTimeout", c.DialTimeout, time.Millisecond, 10*time.Minute),
		checkBounds("HandshakeTimeout", c.HandshakeTimeout, time.Millisecond, 10*time.Minute),
		checkBounds("KeepAlive", c.KeepAlive, 10*time.Millisecond, time.Hour),
		checkBounds("StallTimeout", c.StallTimeout, 10*time.Millisecond, time.Hour),
		checkBounds("MinBackoff", c.MinBackoff, time.Millisecond, time.Hour),
		checkBounds("MaxBackoff", c.MaxBackoff, c.MinBackoff, time.Hour),
	)
	return errors.Join(errs...)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func checkBounds[T int | time.Duration](field string, v, least, most T) error {
	if v < least || v > most {
		return fmt.Errorf("tcp: Config.%s is %v, must be from %v to %v", field, v, least, most)
	}
	return nil
}
