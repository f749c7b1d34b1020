package crdt_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/crdt"
	"github.com/parley-go/parley/vclock"
)

// The types that do not know their past, against the same model.

func total(h *history, k known) string {
	sum := int64(0)
	for i := range k {
		sum += h.all[i].n
	}
	return strconv.FormatInt(sum, 10)
}

func TestGCounterAgainstModel(t *testing.T) {
	lab[*crdt.GCounter]{
		make: crdt.NewGCounter,
		change: func(h *history, c *crdt.GCounter, o *operation, _ known) *crdt.GCounter {
			o.n = h.random.Int64N(5)
			return c.Add(uint64(o.n))
		},
		show:       func(c *crdt.GCounter) string { return strconv.FormatUint(c.Value(), 10) },
		want:       total,
		cumulative: true,
	}.test(t)
}

func TestPNCounterAgainstModel(t *testing.T) {
	lab[*crdt.PNCounter]{
		make: crdt.NewPNCounter,
		change: func(h *history, c *crdt.PNCounter, o *operation, _ known) *crdt.PNCounter {
			o.n = h.random.Int64N(9) - 4
			return c.Add(o.n)
		},
		show:       func(c *crdt.PNCounter) string { return strconv.FormatInt(c.Value(), 10) },
		want:       total,
		cumulative: true,
	}.test(t)
}

// No more is ever taken than was added before, by all replicas together.
func TestBoundedCounterAgainstModel(t *testing.T) {
	lab[*crdt.BoundedCounter]{
		make: crdt.NewBoundedCounter,
		change: func(h *history, c *crdt.BoundedCounter, o *operation, _ known) *crdt.BoundedCounter {
			n := uint64(h.random.IntN(5))
			had := c.Rights(name(o.who))
			switch h.random.IntN(3) {
			case 0:
				o.n = int64(n)
				return c.Add(n)
			case 1:
				delta, err := c.Give(name(h.random.IntN(5)), n)
				require.Equal(t, n > had, err != nil)
				if err == nil {
					return delta
				}
			default:
				delta, err := c.Take(n)
				require.Equal(t, n > had, err != nil)
				if err == nil {
					o.n = -int64(n)
					sum := o.n
					for _, earlier := range h.all {
						sum += earlier.n
					}
					require.GreaterOrEqual(t, sum, int64(0), "taken more than there was")
					return delta
				}
			}
			return c.Add(0) // the delta of a replica that did nothing new
		},
		show: func(c *crdt.BoundedCounter) string { return strconv.FormatUint(c.Value(), 10) },
		want: func(h *history, k known) string {
			sum := int64(0)
			for i := range k {
				sum += h.all[i].n
			}
			return strconv.FormatInt(max(sum, 0), 10)
		},
		cumulative: true,
	}.test(t)
}

// last returns, for each path, the last known write: by stamp, then by replica, then
// an addition before a removal, then the larger value.
func last(h *history, k known) map[string]operation {
	all := map[string]operation{}
	rank := func(o operation) []string {
		return []string{fmt.Sprintf("%020d", o.stamp), name(o.who), map[bool]string{true: "0", false: "1"}[o.what == "remove"], strconv.FormatInt(o.n, 10)}
	}
	for i := range k {
		o := h.all[i]
		if was, found := all[o.path]; !found || slices.Compare(rank(o), rank(was)) > 0 {
			all[o.path] = o
		}
	}
	return all
}

// Stamps collide, also those of one replica.
func (h *history) stamped(o *operation) {
	o.stamp, o.n, o.path, o.what = vclock.Stamp(h.random.IntN(8)), int64(h.random.IntN(10)), h.element(), "add"
	if h.random.IntN(3) == 0 {
		o.what, o.n = "remove", 0
	}
}

func TestLWWRegisterAgainstModel(t *testing.T) {
	lab[*crdt.LWWRegister[string]]{
		make: crdt.NewLWWRegister[string],
		change: func(h *history, r *crdt.LWWRegister[string], o *operation, _ known) *crdt.LWWRegister[string] {
			h.stamped(o)
			o.path, o.what = "", "add"
			return r.Set(o.stamp, strconv.FormatInt(o.n, 10))
		},
		show: func(r *crdt.LWWRegister[string]) string {
			value, _ := r.Get()
			return value
		},
		want: func(h *history, k known) string {
			if o, found := last(h, k)[""]; found {
				return strconv.FormatInt(o.n, 10)
			}
			return ""
		},
	}.test(t)
}

func TestLWWMapAgainstModel(t *testing.T) {
	lab[*crdt.LWWMap[string, string]]{
		make: crdt.NewLWWMap[string, string],
		change: func(h *history, m *crdt.LWWMap[string, string], o *operation, _ known) *crdt.LWWMap[string, string] {
			h.stamped(o)
			if o.what == "remove" {
				return m.Remove(o.stamp, o.path)
			}
			return m.Set(o.stamp, o.path, strconv.FormatInt(o.n, 10))
		},
		show: func(m *crdt.LWWMap[string, string]) string {
			var list []string
			for key, value := range m.All() {
				list = append(list, key+"="+value)
			}
			return text(list)
		},
		want: func(h *history, k known) string {
			var list []string
			for key, o := range last(h, k) {
				if o.what == "add" {
					list = append(list, fmt.Sprintf("%s=%d", key, o.n))
				}
			}
			return text(list)
		},
	}.test(t)
}

func TestLWWSetAgainstModel(t *testing.T) {
	lab[*crdt.LWWSet[string]]{
		make: func(string) *crdt.LWWSet[string] { return new(crdt.LWWSet[string]) },
		change: func(h *history, s *crdt.LWWSet[string], o *operation, _ known) *crdt.LWWSet[string] {
			h.stamped(o)
			if o.what == "remove" {
				return s.Remove(o.stamp, o.path)
			}
			return s.Add(o.stamp, o.path)
		},
		show: func(s *crdt.LWWSet[string]) string { return text(slices.Collect(s.All())) },
		want: func(h *history, k known) string {
			highest := map[string]vclock.Stamp{}
			for i := range k {
				highest[h.all[i].path] = max(highest[h.all[i].path], h.all[i].stamp)
			}
			var list []string
			for i := range k {
				if o := h.all[i]; o.what == "add" && o.stamp == highest[o.path] {
					list = append(list, o.path)
				}
			}
			return text(list)
		},
	}.test(t)
}

func TestGSetAgainstModel(t *testing.T) {
	lab[*crdt.GSet[string]]{
		make: func(string) *crdt.GSet[string] { return new(crdt.GSet[string]) },
		change: func(h *history, s *crdt.GSet[string], o *operation, _ known) *crdt.GSet[string] {
			o.what, o.path = "add", strconv.Itoa(h.random.IntN(30)) // beyond the size of a list
			return s.Add(o.path)
		},
		show: func(s *crdt.GSet[string]) string { return text(slices.Collect(s.All())) },
		want: paths,
	}.test(t)
}

func TestTwoPhaseSetAgainstModel(t *testing.T) {
	lab[*crdt.TwoPhaseSet[string]]{
		make: func(string) *crdt.TwoPhaseSet[string] { return new(crdt.TwoPhaseSet[string]) },
		change: func(h *history, s *crdt.TwoPhaseSet[string], o *operation, _ known) *crdt.TwoPhaseSet[string] {
			o.what, o.path = "add", strconv.Itoa(h.random.IntN(30))
			if h.random.IntN(3) == 0 {
				o.what = "remove"
				return s.Remove(o.path)
			}
			return s.Add(o.path)
		},
		show: func(s *crdt.TwoPhaseSet[string]) string { return text(slices.Collect(s.All())) },
		want: wins, // nothing ever puts an end to a removal
	}.test(t)
}
