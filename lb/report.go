package lb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Health is how a service or a dependency is, in the words of the draft
// draft-inadarei-api-health-check.
type Health string

// The values of Health.
const (
	Pass Health = "pass" // all is well
	Warn Health = "warn" // it works, with less than it should have
	Fail Health = "fail" // it does not work
)

// A Dependency is something that a service needs, and how to find out whether it
// is there.
type Dependency struct {
	// Name is what reports call it. Required, and without a colon.
	Name string
	// Type is "datastore", "component" or "system". Default "component".
	Type string
	// Check returns nil if it is well, else why not. It must return soon after ctx
	// ends. Required.
	Check func(ctx context.Context) error
	// Optional makes its failure a warning: the service is ready all the same.
	Optional bool
	// Liveness makes it a matter of Liveness, too: with it gone, only a restart
	// helps. Other services are never such.
	Liveness bool
}

// ReportConfig says what a Report says.
type ReportConfig struct {
	// ServiceID, Version, ReleaseID and Description stand in every report, unless
	// empty.
	ServiceID, Version, ReleaseID, Description string
	// CacheFor is how long the result of a check serves, 1 ms to 24 h: however
	// often a report is asked for, a dependency is not checked more often. Default
	// 1 s.
	CacheFor time.Duration
	// Timeout is how long a check may take; then it has failed, and is not made
	// again before it has returned. 1 ms to 24 h, default 1 s.
	Timeout time.Duration
	// DisableOutput leaves the texts of errors out, which may tell strangers too
	// much.
	DisableOutput bool
}

// A Report tells load balancers, orchestrators and people how a service is, by
// its dependencies: [Report.Readiness] whether it should get requests,
// [Report.Liveness] whether it should go on living. Answers are JSON of the type
// application/health+json, with status 200 or, if the health is fail, 503.
//
// Checks run when a report is asked for, at the same time, and once for all who
// ask meanwhile. Make one with [NewReport]; it is safe for concurrent use.
type Report struct {
	config ReportConfig
	probes []*probe
	ctx    context.Context // of all checks; ends with Close
	cancel context.CancelFunc

	mu       sync.Mutex
	draining string         // why, if set; guarded by mu
	closed   bool           // guarded by mu
	wait     sync.WaitGroup // of checks; added to with mu held and not closed
}

// NewReport returns a Report on the dependencies. Close it when the service ends.
//
// Errors: ErrInvalid.
func NewReport(config ReportConfig, dependencies ...Dependency) (*Report, error) {
	check := checker{config: "ReportConfig"}
	within := func(d time.Duration) bool { return d >= time.Millisecond && d <= maxDuration }
	config.CacheFor = orDefault(config.CacheFor, time.Second)
	check.field(within(config.CacheFor), "CacheFor", config.CacheFor, "from 1ms to 24h")
	config.Timeout = orDefault(config.Timeout, time.Second)
	check.field(within(config.Timeout), "Timeout", config.Timeout, "from 1ms to 24h")
	ctx, cancel := context.WithCancel(context.Background())
	r := &Report{config: config, ctx: ctx, cancel: cancel}
	for i, d := range dependencies {
		d.Type = orDefault(d.Type, "component")
		of := checker{config: fmt.Sprintf("Dependency %d", i)}
		of.field(d.Name != "" && !slices.Contains([]byte(d.Name), ':'), "Name", strconv.Quote(d.Name), "a name without a colon")
		of.field(d.Check != nil, "Check", "nil", "a function")
		of.field(!slices.ContainsFunc(r.probes, func(p *probe) bool { return p.Name == d.Name }), "Name", strconv.Quote(d.Name), "given once")
		check.errs = append(check.errs, of.errs...)
		r.probes = append(r.probes, &probe{Dependency: d})
	}
	if err := check.err(); err != nil {
		cancel()
		return nil, err
	}
	return r, nil
}

// Drain makes Readiness fail from now on, with that reason, while requests are
// still served: load balancers stop sending more before the service ends. An
// empty reason ends it.
func (r *Report) Drain(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = reason
}

// Close ends the context of the checks under way and waits for them. Reports
// fail from now on. Always nil.
func (r *Report) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wait.Wait()
	return nil
}

// Readiness returns the handler that says whether the service can serve requests.
func (r *Report) Readiness() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.serve(w, req, r.read(req.Context(), false))
	})
}

// Liveness returns the handler that says whether the service should go on
// living: it fails only with a dependency that is marked as such. A process that
// is restarted because its database is down is no better off, and the database
// is worse.
func (r *Report) Liveness() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.serve(w, req, r.read(req.Context(), true))
	})
}

// A document is a report as the draft has it, sections 3 and 4.
type document struct {
	Status      Health             `json:"status"`
	Version     string             `json:"version,omitempty"`
	ReleaseID   string             `json:"releaseId,omitempty"`
	ServiceID   string             `json:"serviceId,omitempty"`
	Description string             `json:"description,omitempty"`
	Output      string             `json:"output,omitempty"`
	Checks      map[string][]entry `json:"checks,omitempty"`
}

type entry struct {
	Type   string    `json:"componentType"`
	Value  float64   `json:"observedValue"`
	Unit   string    `json:"observedUnit"`
	Status Health    `json:"status"`
	Time   time.Time `json:"time"`
	Output string    `json:"output,omitempty"`
}

// read makes a report. All checks run at once.
func (r *Report) read(ctx context.Context, live bool) *document {
	c := &r.config
	d := &document{Status: Pass, Version: c.Version, ReleaseID: c.ReleaseID, ServiceID: c.ServiceID, Description: c.Description}
	r.mu.Lock()
	draining, closed := r.draining, r.closed
	r.mu.Unlock()
	if closed {
		draining = "closed"
	}
	if draining != "" && (!live || closed) {
		d.Status, d.Output = Fail, draining
	}
	probes := r.probes
	if live {
		probes = slices.DeleteFunc(slices.Clone(probes), func(p *probe) bool { return !p.Liveness })
	}
	for _, p := range probes {
		p.begin(r)
	}
	for _, p := range probes {
		e := p.result(ctx, c)
		if d.Checks == nil {
			d.Checks = map[string][]entry{}
		}
		d.Checks[p.Name+":responseTime"] = []entry{e}
		if e.Status == Fail || e.Status == Warn && d.Status == Pass {
			d.Status = e.Status
		}
	}
	return d
}

func (r *Report) serve(w http.ResponseWriter, req *http.Request, d *document) {
	body, err := json.Marshal(d)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/health+json")
	// Below a second there is nothing to say, and a cache in between must not
	// outlive ours.
	w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", r.config.CacheFor/time.Second))
	status := http.StatusOK
	if d.Status == Fail {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // whoever asked has gone: nobody to tell
	}
}

// A probe is a dependency and what is known of it.
type probe struct {
	Dependency

	mu    sync.Mutex
	last  finding       // guarded by mu
	began time.Time     // of the check under way; guarded by mu
	over  chan struct{} // closed when it is over; nil: none is under way; guarded by mu
}

// A finding is the result of a check.
type finding struct {
	err  error
	took time.Duration
	at   time.Time
}

// begin starts a check, unless one is under way or the last is fresh.
func (p *probe) begin(r *Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.over != nil || !p.last.at.IsZero() && now.Sub(p.last.at) < r.config.CacheFor {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	over := make(chan struct{})
	p.over, p.began = over, now
	r.wait.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, r.config.Timeout)
		defer cancel()
		err := errAbandoned // if the check ends its goroutine
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			end := time.Now()
			if took := end.Sub(now); took > r.config.Timeout && err == nil {
				err = errTimeout
			}
			p.last, p.over = finding{err, end.Sub(now), end}, nil
			close(over)
		}()
		err = p.Check(ctx)
	})
}

// result waits for the check under way, if there is one, as long as it may take
// and as ctx goes on, and returns what is known then.
func (p *probe) result(ctx context.Context, c *ReportConfig) entry {
	p.mu.Lock()
	over, began := p.over, p.began
	p.mu.Unlock()
	late := error(nil)
	if over != nil {
		timer := time.NewTimer(time.Until(began.Add(c.Timeout)))
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			late = errTimeout
		case <-ctx.Done():
			late = contextError(ctx)
		}
	}
	p.mu.Lock()
	f := p.last
	p.mu.Unlock()
	now := time.Now()
	switch {
	case late != nil:
		f = finding{late, now.Sub(began), now}
	case f.at.IsZero():
		f = finding{errors.New("lb: not checked"), 0, now}
	}
	e := entry{Type: p.Type, Value: float64(f.took) / float64(time.Millisecond), Unit: "ms", Status: Pass, Time: f.at.UTC()}
	if f.err != nil {
		if e.Status = Fail; p.Optional {
			e.Status = Warn
		}
		if !c.DisableOutput {
			e.Output = f.err.Error()
		}
	}
	return e
}
