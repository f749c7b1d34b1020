package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Resolver finds the backends of a service. [Static] and [DNS] are resolvers.
type Resolver interface {
	// Resolve returns the backends there are now, in any order. It must return
	// soon after ctx ends.
	Resolve(ctx context.Context) ([]Backend, error)
}

// Static is a Resolver whose backends never change.
type Static []Backend

// Resolve returns the backends.
func (s Static) Resolve(context.Context) ([]Backend, error) { return slices.Clone(s), nil }

// DNS is a Resolver that asks the domain name system: for the addresses of Host,
// A and AAAA, or, with Service, for SRV records.
type DNS struct {
	// Host is the name to look up. Required.
	Host string
	// Port is that of the backends, 1 to 65535. SRV records bring their own.
	Port int
	// Service makes it a look-up of SRV records of _Service._Proto.Host; "-" asks
	// for those of Host itself. Of the records, those of the best priority are
	// backends, by the name of their target, with weights as in RFC 2782 scaled
	// to MaxWeight.
	Service string
	// Proto is the protocol of SRV records. Default "tcp".
	Proto string
	// Network is "ip" for addresses of both families, "ip4" or "ip6". Default "ip".
	Network string
	// Zone is the Zone of all backends.
	Zone string
	// Resolver makes the queries. Default net.DefaultResolver.
	Resolver *net.Resolver
}

// Resolve asks once.
func (d DNS) Resolve(ctx context.Context) ([]Backend, error) {
	resolver := orDefault(d.Resolver, net.DefaultResolver)
	if d.Service != "" {
		return d.resolveSRV(ctx, resolver)
	}
	addresses, err := resolver.LookupNetIP(ctx, orDefault(d.Network, "ip"), d.Host)
	if err != nil {
		return nil, err
	}
	for i, a := range addresses {
		addresses[i] = a.Unmap()
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	var backends []Backend
	for _, a := range slices.Compact(addresses) {
		backends = append(backends, Backend{Name: net.JoinHostPort(a.String(), strconv.Itoa(d.Port)), Zone: d.Zone})
	}
	return backends, nil
}

func (d DNS) resolveSRV(ctx context.Context, resolver *net.Resolver) ([]Backend, error) {
	service, proto := d.Service, orDefault(d.Proto, "tcp")
	if service == "-" {
		service, proto = "", ""
	}
	_, records, err := resolver.LookupSRV(ctx, service, proto, d.Host)
	if err != nil && len(records) == 0 { // some may be good where others are not
		return nil, err
	}
	return d.fromSRV(records), nil
}

// fromSRV returns the records of the best priority as backends.
func (d DNS) fromSRV(records []*net.SRV) (backends []Backend) {
	records = slices.DeleteFunc(slices.Clone(records), func(r *net.SRV) bool {
		return r.Target == "." || r.Target == "" // RFC 2782: there is decidedly no such service
	})
	best, heaviest := ^uint16(0), 1
	for _, r := range records {
		best = min(best, r.Priority)
	}
	for _, r := range records {
		if r.Priority == best {
			heaviest = max(heaviest, int(r.Weight))
		}
	}
	scale := 1.0 // small weights stay as they are, so that shares are exact
	if heaviest > MaxWeight {
		scale = MaxWeight / float64(heaviest)
	}
	for _, r := range records {
		if r.Priority == best {
			name := net.JoinHostPort(strings.TrimSuffix(r.Target, "."), strconv.Itoa(int(r.Port)))
			backends = append(backends, Backend{Name: name, Zone: d.Zone, Weight: max(1, int(float64(r.Weight)*scale))})
		}
	}
	slices.SortFunc(backends, func(a, b Backend) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(b.Weight, a.Weight)) // records come shuffled
	})
	return slices.CompactFunc(backends, func(a, b Backend) bool { return a.Name == b.Name })
}

// ResolveConfig says how a Watcher resolves.
type ResolveConfig struct {
	// Resolver finds the backends. Required.
	Resolver Resolver
	// Interval is the time between one good answer and the next question, 1 ms to
	// 24 h. After a bad one it asks again after a sixteenth of it, and then after
	// twice as long each time, up to Interval. Default 30 s.
	Interval time.Duration
	// Jitter is the share of each interval that is left to chance, above 0, to 1.
	// Default 0.2.
	Jitter float64
	// DisableJitter makes every interval last exactly as long as it says.
	DisableJitter bool
	// Timeout is how long one question may take, 1 ms to 24 h. Default 5 s.
	Timeout time.Duration
	// Seed makes the jitter the same in every run. Default: drawn at random.
	Seed uint64
}

func (c ResolveConfig) withDefaults() (ResolveConfig, error) {
	check := checker{config: "ResolveConfig"}
	check.field(c.Resolver != nil, "Resolver", "nil", "a Resolver")
	if d, ok := c.Resolver.(DNS); ok {
		check.field(d.Host != "", "Resolver.Host", strconv.Quote(d.Host), "a name")
		check.field(d.Service != "" || d.Port >= 1 && d.Port <= 65535, "Resolver.Port", d.Port, "from 1 to 65535")
	}
	within := func(d time.Duration) bool { return d >= time.Millisecond && d <= maxDuration }
	c.Interval = orDefault(c.Interval, 30*time.Second)
	check.field(within(c.Interval), "Interval", c.Interval, "from 1ms to 24h")
	c.Jitter = check.jitter(c.Jitter, c.DisableJitter)
	c.Timeout = orDefault(c.Timeout, 5*time.Second)
	check.field(within(c.Timeout), "Timeout", c.Timeout, "from 1ms to 24h")
	c.Seed = orDefault(c.Seed, rand.Uint64())
	return c, check.err()
}

// errNoAnswer says that a resolver found nothing, which is not believed.
var errNoAnswer = errors.New("lb: resolver found no backends")

// A Watcher asks a Resolver again and again and sets the backends of a Balancer
// to what it finds. An error, and an answer without backends, change nothing: a
// name server that is down takes nobody else down with it. Start one with
// [StartWatcher]; its methods are safe for concurrent use.
type Watcher struct {
	balancer *Balancer
	config   ResolveConfig
	cancel   context.CancelFunc
	closed   <-chan struct{} // closed by Close
	wait     sync.WaitGroup
	ask      chan struct{} // to ask at once; holds one
	first    chan struct{} // closed after the first good answer

	mu  sync.Mutex
	err error     // of the latest question; guarded by mu
	at  time.Time // of the latest good answer; guarded by mu
}

// StartWatcher starts to keep the backends of b up to date. It asks at once, but
// does not wait for the answer; see Wait. Close stops it.
//
// Errors: ErrInvalid.
func StartWatcher(b *Balancer, config ResolveConfig) (*Watcher, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watcher{
		balancer: b,
		config:   c,
		cancel:   cancel,
		closed:   ctx.Done(),
		ask:      make(chan struct{}, 1),
		first:    make(chan struct{}),
	}
	w.wait.Go(func() { w.loop(ctx) })
	return w, nil
}

// Close stops the questions and waits for the one under way, whose context ends.
// The backends stay as they are. Always nil.
func (w *Watcher) Close() error {
	w.cancel()
	w.wait.Wait()
	return nil
}

// errClosed says that there will be no more answers.
var errClosed = errors.New("lb: watcher is closed")

// Wait waits for the first good answer, or until ctx ends or the Watcher is
// closed; then the error of the latest question is joined.
func (w *Watcher) Wait(ctx context.Context) error {
	var why error
	select {
	case <-w.first:
		return nil
	case <-ctx.Done():
		why = contextError(ctx)
	case <-w.closed:
		why = errClosed
	}
	at, err := w.Last()
	if !at.IsZero() {
		return nil // it was there
	}
	return errors.Join(why, err)
}

// Refresh makes it ask at once, as after a connection was refused; while it is
// asking, once more. It does not wait for the answer. Callers should not do so more
// often than name servers bear.
func (w *Watcher) Refresh() {
	select {
	case w.ask <- struct{}{}:
	default:
	}
}

// Last returns the time of the latest good answer, zero before the first, and the
// error of the latest question.
func (w *Watcher) Last() (at time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at, w.err
}

func (w *Watcher) loop(ctx context.Context) {
	c := &w.config
	random := rand.New(rand.NewPCG(c.Seed, 0))
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.ask:
		case <-timer.C:
		}
		wait := c.Interval
		if err := w.resolve(ctx); err == nil {
			failures = 0
		} else {
			wait = min(wait, max(wait/16, time.Millisecond)<<failures)
			failures = min(failures+1, 5)
		}
		timer.Reset(wait - time.Duration(random.Float64()*c.Jitter*float64(wait)))
	}
}

// resolve asks once.
func (w *Watcher) resolve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.config.Timeout)
	defer cancel()
	backends, err := w.config.Resolver.Resolve(ctx)
	if err == nil && len(backends) == 0 {
		err = errNoAnswer
	}
	if err == nil {
		err = w.balancer.Set(backends...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err = err; err != nil {
		w.err = fmt.Errorf("lb: resolve: %w", err)
		return w.err
	}
	if w.at.IsZero() {
		close(w.first)
	}
	w.at = time.Now()
	return nil
}
