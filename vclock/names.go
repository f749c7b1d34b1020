package vclock

import (
	"encoding/binary"
	"slices"
	"strings"
)

// names are the nodes of a clock. They change seldom, when a node joins, and so
// stand apart from the counters: clocks that come from one another share them, and
// clocks that do not are told to have the same by comparing one string. Names are
// never changed; nil has none.
type names struct {
	list   []string // in order, none twice
	joined string   // all of them, each after its length
}

func newNames(list []string) *names {
	if len(list) == 0 {
		return nil
	}
	size := len(list) * binary.MaxVarintLen16
	for _, name := range list {
		size += len(name)
	}
	var joined strings.Builder
	joined.Grow(size)
	for _, name := range list {
		var length [binary.MaxVarintLen64]byte
		joined.Write(length[:binary.PutUvarint(length[:], uint64(len(name)))])
		joined.WriteString(name)
	}
	return &names{list, joined.String()}
}

func (n *names) all() []string {
	if n == nil {
		return nil
	}
	return n.list
}

func (n *names) equal(m *names) bool {
	return n == m || n != nil && m != nil && n.joined == m.joined
}

// union returns the names that are in either: n or m itself where that has them
// all.
func (n *names) union(m *names) *names {
	if n.equal(m) {
		return n
	}
	switch both := distinct(n.all(), m.all()); both {
	case len(n.all()):
		return n
	case len(m.all()):
		return m
	}
	list := slices.Concat(n.all(), m.all())
	slices.Sort(list)
	return newNames(slices.Compact(list))
}

// distinct returns how many names there are in two lists that are in order.
func distinct(a, b []string) (n int) {
	for ; len(a) > 0 && len(b) > 0; n++ {
		order := strings.Compare(a[0], b[0])
		if order <= 0 {
			a = a[1:]
		}
		if order >= 0 {
			b = b[1:]
		}
	}
	return n + len(a) + len(b)
}
