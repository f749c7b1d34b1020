package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// A Check finds out whether a backend is well: nil if it is, else why not. It
// runs concurrently for different backends and must return soon after ctx ends.
// [HTTPCheck], [TCPCheck] and [GRPCCheck] make usual ones.
type Check func(ctx context.Context, backend Backend) error

// CheckConfig says how a Checker checks.
type CheckConfig struct {
	// Check is asked whether a backend is well. Required.
	Check Check
	// Interval is the time from the end of one check of a backend to the next, 1
	// ms to 24 h. Default 5 s.
	Interval time.Duration
	// Jitter is the share of each interval that is left to chance, above 0, to 1,
	// so that checks do not come in step: d becomes d less up to Jitter*d. The
	// first check of a backend waits for up to Jitter*d. Default 0.2.
	Jitter float64
	// DisableJitter makes every interval last exactly as long as it says.
	DisableJitter bool
	// Timeout is how long one check may take, 1 ms to 24 h. A check that is still
	// not over then has failed, and is not made again before it has returned.
	// Default 1 s.
	Timeout time.Duration
	// Rise is how many good checks in a row make a backend well again, 1 to
	// 1,000. Default 2.
	Rise int
	// Fall is how many bad checks in a row make a backend ill, 1 to 1,000.
	// Default 3.
	Fall int
	// Concurrent is how many checks run at a time, 1 to MaxBackends; others wait.
	// Default 64.
	Concurrent int
	// Seed makes the jitter the same in every run. Default: drawn at random.
	Seed uint64
}

func (c CheckConfig) withDefaults() (CheckConfig, error) {
	check := checker{config: "CheckConfig"}
	check.field(c.Check != nil, "Check", "nil", "a function")
	within := func(d time.Duration) bool { return d >= time.Millisecond && d <= maxDuration }
	c.Interval = orDefault(c.Interval, 5*time.Second)
	check.field(within(c.Interval), "Interval", c.Interval, "from 1ms to 24h")
	c.Jitter = check.jitter(c.Jitter, c.DisableJitter)
	c.Timeout = orDefault(c.Timeout, time.Second)
	check.field(within(c.Timeout), "Timeout", c.Timeout, "from 1ms to 24h")
	c.Rise = orDefault(c.Rise, 2)
	check.field(c.Rise >= 1 && c.Rise <= 1000, "Rise", c.Rise, "from 1 to 1000")
	c.Fall = orDefault(c.Fall, 3)
	check.field(c.Fall >= 1 && c.Fall <= 1000, "Fall", c.Fall, "from 1 to 1000")
	c.Concurrent = orDefault(c.Concurrent, 64)
	check.field(c.Concurrent >= 1 && c.Concurrent <= MaxBackends, "Concurrent", c.Concurrent, fmt.Sprintf("from 1 to %d", MaxBackends))
	c.Seed = orDefault(c.Seed, rand.Uint64())
	return c, check.err()
}

// jitter fills in and checks a field of that name.
func (c *checker) jitter(share float64, disabled bool) float64 {
	if disabled {
		c.field(share == 0, "Jitter", share, "0 if DisableJitter is set")
		return 0
	}
	share = orDefault(share, 0.2)
	c.field(share > 0 && share <= 1, "Jitter", share, "above 0, to 1")
	return share
}

// errTimeout is the result of a check that was not over in time.
var errTimeout = errors.New("lb: check timed out")

// CheckResult is what a Checker has found out about a backend.
type CheckResult struct {
	Backend string        // its name
	Well    bool          // what the balancer was told last; true before the first check
	Err     error         // of the latest check; nil if it was good
	InARow  int           // checks with such a result; 0 before the first
	Took    time.Duration // by the latest check
	At      time.Time     // when it was over
}

// A Checker checks the backends of a Balancer in turns and tells it which are
// well. It follows the balancer's backends as they change. Start one with
// [StartChecker]; its methods are safe for concurrent use.
//
// It has a goroutine for each backend, and one more for each check under way.
type Checker struct {
	balancer *Balancer
	config   CheckConfig
	cancel   context.CancelFunc
	wait     sync.WaitGroup
	slots    chan struct{} // holds one for each check that is in its time

	mu      sync.Mutex
	targets map[string]*target // by name; guarded by mu
}

// A target is a backend that is checked.
type target struct {
	backend Backend     // guarded by Checker.mu
	result  CheckResult // guarded by Checker.mu
	random  *rand.Rand  // of its goroutine
	cancel  context.CancelFunc
}

// StartChecker starts to check the backends of b. Close stops it.
//
// Errors: ErrInvalid.
func StartChecker(b *Balancer, config CheckConfig) (*Checker, error) {
	c, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &Checker{
		balancer: b,
		config:   c,
		cancel:   cancel,
		slots:    make(chan struct{}, c.Concurrent),
		targets:  map[string]*target{},
	}
	k.wait.Go(func() { k.follow(ctx) })
	return k, nil
}

// Close stops the checks and waits for those under way, whose context ends. What
// the balancer was told stays. Always nil.
func (k *Checker) Close() error {
	k.cancel()
	k.wait.Wait()
	return nil
}

// Results yields what is known of each backend, in the order of their names.
func (k *Checker) Results() iter.Seq[CheckResult] {
	k.mu.Lock()
	defer k.mu.Unlock()
	results := make([]CheckResult, 0, len(k.targets))
	for _, t := range k.targets {
		results = append(results, t.result)
	}
	slices.SortFunc(results, func(a, b CheckResult) int { return cmp.Compare(a.Backend, b.Backend) })
	return slices.Values(results)
}

// follow keeps a goroutine for each backend of the balancer.
func (k *Checker) follow(ctx context.Context) {
	for {
		backends, changed := k.balancer.watch()
		k.setTargets(ctx, backends)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (k *Checker) setTargets(ctx context.Context, backends []Backend) {
	k.mu.Lock()
	defer k.mu.Unlock()
	present := make(map[string]bool, len(backends))
	for _, be := range backends {
		present[be.Name] = true
		t := k.targets[be.Name]
		if t == nil {
			t = &target{
				result: CheckResult{Backend: be.Name, Well: true},
				random: rand.New(draw.NewStream(k.config.Seed, be.Name)),
			}
			k.targets[be.Name] = t
			var targetCtx context.Context
			targetCtx, t.cancel = context.WithCancel(ctx)
			k.wait.Go(func() { k.repeat(targetCtx, t) })
		}
		t.backend = be
	}
	for name, t := range k.targets {
		if !present[name] {
			t.cancel()
			delete(k.targets, name)
		}
	}
}

// repeat checks one backend until ctx ends.
func (k *Checker) repeat(ctx context.Context, t *target) {
	jitter := func() time.Duration {
		return time.Duration(t.random.Float64() * k.config.Jitter * float64(k.config.Interval))
	}
	for wait := jitter(); sleep(ctx, wait); wait = k.config.Interval - jitter() {
		select {
		case k.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		k.check(ctx, t)
	}
}

// sleep waits and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// check makes one check, in a slot that it gives back. A check that goes on after
// its time has failed then, and is waited for: there is one at a time.
func (k *Checker) check(parent context.Context, t *target) {
	ctx, cancel := context.WithTimeout(parent, k.config.Timeout)
	defer cancel()
	k.mu.Lock()
	backend := t.backend
	k.mu.Unlock()
	began := time.Now()
	over := make(chan error, 1)
	k.wait.Go(func() {
		err := errAbandoned // if the check ends its goroutine
		defer func() { over <- err }()
		err = k.config.Check(ctx, backend)
	})
	var err error
	select {
	case err = <-over:
		<-k.slots
		k.count(parent, t, err, began)
	case <-ctx.Done():
		<-k.slots
		k.count(parent, t, errTimeout, began)
		<-over
	}
}

// count takes a result into account, and tells the balancer if that decides.
func (k *Checker) count(ctx context.Context, t *target, err error, began time.Time) {
	if ctx.Err() != nil {
		return // the backend has gone, or the checker is closed
	}
	now := time.Now()
	k.mu.Lock()
	r := &t.result
	if (r.Err == nil) != (err == nil) {
		r.InARow = 0
	}
	r.Err, r.Took, r.At = err, now.Sub(began), now
	r.InARow++
	enough := k.config.Rise
	if err != nil {
		enough = k.config.Fall
	}
	decided := r.InARow >= enough
	if decided {
		r.Well = err == nil
	}
	name := r.Backend
	k.mu.Unlock()
	if decided {
		// Also when nothing has changed: the backend may have gone and come back since,
		// and then the balancer thinks that it is well.
		_ = k.balancer.SetHealth(name, err == nil) // one that has gone needs none
	}
}
