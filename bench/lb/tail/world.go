package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/internal/event"
	"github.com/parley-go/parley/lb"
)

// The fleet, the same in every scenario.
const (
	servers     = 50
	workers     = 8 // of a server: calls that it serves at a time, others wait in line
	clients     = 10
	mean        = 10 * time.Millisecond // of the exponential service time
	utilization = 0.7
	failAfter   = time.Millisecond // a failing server answers
	hangFor     = time.Second      // a client gives up on a hung one

	warmUp = 2 * time.Second // before anything is measured
)

// rate is how many calls all clients together make in a second.
const rate = utilization * servers * workers * float64(time.Second) / float64(mean)

// errFailed is what a call to an ailing server ends with.
var errFailed = errors.New("failed")

// A kind is what happens in an event.
type kind uint8

const (
	arrival    kind = iota // a client makes a call
	completion             // a server has done its work
	answer                 // an ailing server's call ends without work
	stall                  // a server stops for a while
	join                   // the last server joins
)

// A call is one event, and what travels with it.
type call struct {
	kind   kind
	client int32
	server int32
	number uint64        // of the arrival
	began  time.Duration // when the client made it
	paused time.Duration // the server's pauses when its work began
	pick   lb.Pick
}

// A server works on calls in the order in which they come.
type server struct {
	busy    int
	line    []call
	head    int
	paused  time.Duration // all pauses so far, the present one whole
	resumes time.Duration // the end of the latest pause
	stalls  uint64
}

// A world is one run of one scenario with one policy, in virtual time.
type world struct {
	scenario scenario
	now      time.Duration
	until    time.Duration // the end of calls and stalls; those under way go on
	queue    event.Queue[call]
	seq      uint64
	servers  [servers]server
	clients  [clients]*lb.Balancer
	names    [servers]string
	numbers  map[string]int32
	draws    struct{ gap, client, work, stall uint64 }
	result   result
}

// A result is what the clients saw in the measured time.
type result struct {
	latencies []time.Duration
	errors    int
}

func (r *result) quantile(q float64) time.Duration {
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)]
}

func (r *result) errorShare() float64 { return float64(r.errors) / float64(len(r.latencies)) }

// run plays a scenario. The calls, when they are made, and how much work each is
// are the same for every config; where they are sent is all that differs.
func run(s scenario, config lb.Config, seed uint64, measured time.Duration) (result, error) {
	w := &world{scenario: s, until: warmUp + measured, numbers: map[string]int32{}}
	w.draws.gap = draw.Key(seed, "gap")
	w.draws.client = draw.Key(seed, "client")
	w.draws.work = draw.Key(seed, "work")
	w.draws.stall = draw.Key(seed, "stall")
	var backends []lb.Backend
	for i := range w.names {
		w.names[i] = fmt.Sprintf("server-%02d", i)
		w.numbers[w.names[i]] = int32(i)
		if i < servers-1 || s.joins == 0 {
			backends = append(backends, lb.Backend{Name: w.names[i]})
		}
	}
	zero := time.Unix(1e9, 0)
	config.Now = func() time.Time { return zero.Add(w.now) }
	for i := range w.clients {
		config.Seed = draw.Key(seed, "balancer", fmt.Sprint(i))
		b, err := lb.New(config, backends...)
		if err != nil {
			return result{}, err
		}
		w.clients[i] = b
	}
	w.push(0, call{kind: arrival})
	if s.joins > 0 {
		w.push(s.joins, call{kind: join})
	}
	if s.stallEvery > 0 {
		for i := range w.servers {
			w.pushStall(int32(i))
		}
	}
	for w.queue.Len() > 0 {
		k, c := w.queue.Pop()
		due := *c
		*c = call{}
		w.now = k.At
		if err := w.step(due); err != nil {
			return result{}, err
		}
	}
	slices.Sort(w.result.latencies)
	return w.result, nil
}

func (w *world) push(at time.Duration, c call) {
	w.seq++
	*w.queue.Push(event.Key{At: at, Seq: w.seq}) = c
}

// exponential turns a draw into a time of the given mean.
func exponential(u uint64, mean float64) time.Duration {
	return time.Duration(-math.Log(1-draw.Float(u)) * mean)
}

func (w *world) step(c call) error {
	switch c.kind {
	case arrival:
		gap := exponential(draw.At(w.draws.gap, c.number), float64(time.Second)/rate)
		if w.now > w.until {
			return nil
		}
		w.push(w.now+gap, call{kind: arrival, number: c.number + 1})
		return w.send(c)
	case completion:
		w.complete(c)
	case answer:
		w.end(c, errFailed)
	case stall:
		s := &w.servers[c.server]
		s.paused += stallFor
		s.resumes = w.now + stallFor
		w.pushStall(c.server)
	case join:
		backends := make([]lb.Backend, servers)
		for i := range backends {
			backends[i].Name = w.names[i]
		}
		for _, b := range w.clients {
			if err := b.Set(backends...); err != nil {
				return err
			}
		}
	}
	return nil
}

// send makes a call: the balancer of one of the clients says where to.
func (w *world) send(c call) error {
	c.client = int32(draw.At(w.draws.client, c.number) % clients)
	c.began = w.now
	pick, err := w.clients[c.client].Pick(lb.Request{Key: strconv.FormatUint(c.number, 10)})
	if err != nil {
		return err
	}
	c.pick = pick
	c.server = w.numbers[c.pick.Backend().Name]
	switch c.kind = answer; {
	case w.scenario.failing(int(c.server), w.now):
		w.push(w.now+failAfter, c)
	case w.scenario.hanging(int(c.server), w.now):
		w.push(w.now+hangFor, c)
	default:
		c.kind = completion
		if s := &w.servers[c.server]; s.busy == workers {
			s.line = append(s.line, c)
		} else {
			s.busy++
			w.work(s, c)
		}
	}
	return nil
}

// work begins to serve a call.
func (w *world) work(s *server, c call) {
	c.paused = s.paused
	slow := w.scenario.slowness(int(c.server), w.now)
	takes := exponential(draw.At(w.draws.work, c.number), float64(mean)*slow)
	w.push(max(w.now, s.resumes)+takes, c)
}

// complete ends the work on a call, unless the server has paused since it began.
func (w *world) complete(c call) {
	s := &w.servers[c.server]
	if late := s.paused - c.paused; late > 0 {
		c.paused = s.paused
		w.push(w.now+late, c)
		return
	}
	w.end(c, nil)
	if s.head == len(s.line) {
		s.line, s.head = s.line[:0], 0
		s.busy--
		return
	}
	next := s.line[s.head]
	s.line[s.head] = call{}
	if s.head++; s.head > 1024 && s.head*2 > len(s.line) {
		s.line = append(s.line[:0], s.line[s.head:]...)
		s.head = 0
	}
	w.work(s, next)
}

func (w *world) end(c call, err error) {
	c.pick.Done(err)
	if !w.measuring(c) {
		return
	}
	w.result.latencies = append(w.result.latencies, w.now-c.began)
	if err != nil {
		w.result.errors++
	}
}

// measuring reports whether a call counts: those made after the warm-up do. What
// befalls a server begins with it, except that slow ones are slow all the time.
func (w *world) measuring(c call) bool { return c.began >= warmUp }

func (w *world) pushStall(server int32) {
	s := &w.servers[server]
	s.stalls++
	gap := exponential(draw.At(w.draws.stall, uint64(server)<<32|s.stalls), float64(w.scenario.stallEvery))
	if at := max(w.now, s.resumes) + gap; at <= w.until {
		w.push(at, call{kind: stall, server: server})
	}
}
