// Package vclock_test compares logical clocks.
//
// The peer is the Lamport clock of hashicorp/serf. Its Witness returns no time, so
// that a receipt is a Witness and an Increment there.
//
// For vector and hybrid clocks the baseline is what one writes without a library:
// a map of counters that is copied for each message, and a mutex around a time and
// a counter. Neither checks what it is given, which ours do.
package vclock_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/serf/serf"
	"github.com/parley-go/parley/vclock"
)

// A mapClock is the vector clock of many a textbook.
type mapClock map[string]uint64

func (c mapClock) merge(d mapClock) {
	for node, counter := range d {
		c[node] = max(c[node], counter)
	}
}

func (c mapClock) compare(d mapClock) vclock.Order {
	var behind, ahead bool
	for node, counter := range c {
		ahead = ahead || counter > d[node]
	}
	for node, counter := range d {
		behind = behind || counter > c[node]
	}
	switch {
	case behind && ahead:
		return vclock.Concurrent
	case behind:
		return vclock.Before
	case ahead:
		return vclock.After
	}
	return vclock.Equal
}

// A pair is two clocks of n nodes that do not know of each other, in both forms
// and with names of their own, as if each had come in a message.
type pair struct {
	c, d   vclock.Clock
	mc, md mapClock
}

func newPair(n int) pair {
	p := pair{mc: mapClock{}, md: mapClock{}}
	for i := range n {
		name := func() string { return fmt.Sprintf("node-%02d", i) }
		p.c.Tick(name())
		p.d.Tick(name())
		p.mc[name()]++
		p.md[name()]++
	}
	p.c.Tick("node-00")
	p.mc["node-00"]++
	p.d.Tick(fmt.Sprintf("node-%02d", n-1))
	p.md[fmt.Sprintf("node-%02d", n-1)]++
	return p
}

func each(b *testing.B, f func(b *testing.B, p pair, ours bool)) {
	for _, n := range []int{3, 8, 64} {
		p := newPair(n)
		for _, impl := range []string{"parley", "map"} {
			b.Run(fmt.Sprintf("entries=%d/impl=%s", n, impl), func(b *testing.B) { f(b, p, impl == "parley") })
		}
	}
}

func want(b *testing.B, got vclock.Order) {
	if got != vclock.Concurrent {
		b.Fatalf("got %v", got)
	}
}

func BenchmarkCompare(b *testing.B) {
	each(b, func(b *testing.B, p pair, ours bool) {
		if ours {
			for b.Loop() {
				want(b, p.c.Compare(p.d))
			}
			return
		}
		for b.Loop() {
			want(b, p.mc.compare(p.md))
		}
	})
}

// A message is sent: its event is counted, and the clock is copied into it.
func BenchmarkTickAndClone(b *testing.B) {
	each(b, func(b *testing.B, p pair, ours bool) {
		if ours {
			for b.Loop() {
				p.c.Tick("node-01")
				_ = p.c.Clone()
			}
			return
		}
		for b.Loop() {
			p.mc["node-01"]++
			_ = maps.Clone(p.mc)
		}
	})
}

// A message of a node that knows other things comes in.
func BenchmarkMerge(b *testing.B) {
	each(b, func(b *testing.B, p pair, ours bool) {
		if ours {
			for b.Loop() {
				c := p.c.Clone()
				c.Merge(p.d)
			}
			return
		}
		for b.Loop() {
			c := maps.Clone(p.mc)
			c.merge(p.md)
		}
	})
}

// A lockedHybrid is the algorithm of the paper under a mutex.
type lockedHybrid struct {
	mu      sync.Mutex
	time    int64
	logical uint32
}

func (h *lockedHybrid) now() (int64, uint32) {
	now := time.Now().UnixMicro()
	h.mu.Lock()
	defer h.mu.Unlock()
	if now > h.time {
		h.time, h.logical = now, 0
	} else {
		h.logical++
	}
	return h.time, h.logical
}

// What every hybrid clock pays for a stamp: one reading of the time.
func BenchmarkReading(b *testing.B) {
	b.Run("callers=1/impl=time.Now", func(b *testing.B) {
		for b.Loop() {
			_ = time.Now().UnixMicro()
		}
	})
}

func BenchmarkHybridNow(b *testing.B) {
	ours, locked := vclock.NewHybrid(vclock.HybridConfig{}), new(lockedHybrid)
	for _, impl := range []struct {
		name string
		now  func()
	}{
		{"parley", func() { ours.Now() }},
		{"mutex", func() { locked.now() }},
	} {
		b.Run("callers=1/impl="+impl.name, func(b *testing.B) {
			for b.Loop() {
				impl.now()
			}
		})
		b.Run("callers=many/impl="+impl.name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					impl.now()
				}
			})
		})
	}
}

// A message is sent, and an answer to it received.
func BenchmarkLamport(b *testing.B) {
	var ours vclock.Lamport
	var theirs serf.LamportClock
	for _, impl := range []struct {
		name string
		turn func()
	}{
		{"parley", func() {
			if _, err := ours.Observe(ours.Tick()); err != nil {
				panic(err)
			}
		}},
		{"serf", func() {
			theirs.Witness(theirs.Increment())
			theirs.Increment()
		}},
	} {
		b.Run("callers=1/impl="+impl.name, func(b *testing.B) {
			for b.Loop() {
				impl.turn()
			}
		})
		b.Run("callers=many/impl="+impl.name, func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					impl.turn()
				}
			})
		})
	}
}
