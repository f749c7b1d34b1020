package crdt

import (
	"encoding/binary"
	"slices"

	"github.com/parley-go/parley/vclock"
)

// A version is a value with the dot that wrote it.
type version[V any] struct {
	dot   vclock.Dot
	value V
}

// versions are the live values of a register, by dot. There is one, unless
// replicas wrote concurrently. Values are never written to.
type versions[V any] struct{ list []version[V] }

func (s *versions[V]) fresh() store { return new(versions[V]) }

func (s *versions[V]) place(dot vclock.Dot) (int, bool) {
	return slices.BinarySearchFunc(s.list, dot, func(v version[V], dot vclock.Dot) int { return v.dot.Compare(dot) })
}

func (s *versions[V]) join(other store, how *joining) (changed bool) {
	o, _ := other.(*versions[V])
	if o == nil {
		o = new(versions[V])
	}
	before := len(s.list)
	s.list = slices.DeleteFunc(s.list, func(v version[V]) bool {
		_, found := o.place(v.dot)
		return !found && how.theirs.contains(v.dot)
	})
	changed = len(s.list) < before
	for _, v := range o.list {
		i, found := s.place(v.dot)
		if dot, isNew := how.ours.adopt(v.dot); !found && isNew {
			s.list = slices.Insert(s.list, i, version[V]{dot, v.value})
			changed = true
		}
	}
	return changed
}

// replace puts a value in the place of those that gone tells of, and returns the
// delta.
func (s *versions[V]) replace(c *causal, value V, gone func(v version[V]) bool) causal {
	now := version[V]{c.issue(), value}
	d := newDelta(&versions[V]{[]version[V]{now}})
	d.root.context.add(now.dot)
	s.list = slices.DeleteFunc(s.list, func(v version[V]) bool {
		if gone(v) {
			d.root.context.add(v.dot)
			return true
		}
		return false
	})
	i, _ := s.place(now.dot)
	s.list = slices.Insert(s.list, i, now)
	c.done(&d)
	return d
}

func (s *versions[V]) live() bool { return len(s.list) > 0 }

func (s *versions[V]) dots(yield func(vclock.Dot)) {
	for _, v := range s.list {
		yield(v.dot)
	}
}

// kill mentions nothing: a register is always looked at whole.
func (s *versions[V]) kill(store) { s.list = nil }

func (s *versions[V]) append(b []byte, c *context) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(s.list)))
	var scratch []byte
	for _, v := range s.list {
		b = appendDot(b, c, v.dot)
		form, err := appendValue(scratch[:0], v.value)
		if err != nil {
			return b, err
		}
		b = appendBytes(b, form)
		scratch = form
	}
	return b, nil
}

func (s *versions[V]) read(r *reader, c *context, _ bool) {
	var last vclock.Dot
	for range r.count(3) {
		last = readDot(r, c, last)
		value := readValue[V](r, r.bytes())
		if r.err != nil {
			return
		}
		s.list = append(s.list, version[V]{last, value})
	}
}

// report takes the delta of a nested value that has no dots of its own, such as a
// counter. What this replica has brought to the value since it was last removed
// here is held under one dot, and moves to a new one with each change: a removal
// takes away what it has seen, and not what is under dots that it has not.
func report[V State[V]](c *causal, delta V) {
	c.mutable()
	s := c.store.(*versions[V])
	own := func(v version[V]) bool { return v.dot.Node == c.root.name() }
	value := delta.fresh()
	for _, v := range s.list {
		if own(v) {
			value.Merge(v.value)
		}
	}
	value.Merge(delta)
	s.replace(c, value, own)
}

// view merges into a value what is held of it under all dots.
func view[V State[V]](c *causal, into V) V {
	for _, v := range c.store.(*versions[V]).list {
		into.Merge(v.value)
	}
	return into
}
