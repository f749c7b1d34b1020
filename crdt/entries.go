package crdt

import "github.com/parley-go/parley/vclock"

// A mark is what is held of one element, by dots. It is a value.
type mark[M any] interface {
	live() bool
	each(yield func(vclock.Dot))
	joined(theirs M, how *joining) (all M, changed bool)
	append(b []byte, c *context) []byte
	read(r *reader, c *context) M // the receiver does not matter
}

// entries are elements with their marks. Those whose mark is not live stand only
// in deltas, which mention them.
type entries[E comparable, M mark[M]] struct{ table[E, M] }

func (s *entries[E, M]) fresh() store { return new(entries[E, M]) }

func (s *entries[E, M]) join(other store, how *joining) (changed bool) {
	o, _ := other.(*entries[E, M])
	if o == nil {
		o = new(entries[E, M])
	}
	settle := func(element E, ours, theirs M) {
		now, differs := ours.joined(theirs, how)
		changed = changed || differs
		switch {
		case !differs && ours.live():
		case now.live() || how.delta:
			s.put(element, now)
		default:
			s.remove(element)
		}
	}
	both := 0
	if how.whole {
		for element, ours := range s.all() {
			theirs, found := o.get(element)
			if found {
				both++
			}
			settle(element, ours, theirs)
		}
	}
	if both == o.len() {
		return changed
	}
	for element, theirs := range o.all() {
		ours, _ := s.get(element)
		settle(element, ours, theirs)
	}
	return changed
}

func (s *entries[E, M]) live() bool {
	for _, m := range s.all() {
		if m.live() {
			return true
		}
	}
	return false
}

func (s *entries[E, M]) dots(yield func(vclock.Dot)) {
	for _, m := range s.all() {
		m.each(yield)
	}
}

func (s *entries[E, M]) kill(gone store) {
	g := gone.(*entries[E, M])
	var none M
	for element := range s.all() {
		g.put(element, none)
	}
	s.table = table[E, M]{}
}

func (s *entries[E, M]) append(b []byte, c *context) ([]byte, error) {
	return appendTable(b, &s.table, func(b []byte, m M) ([]byte, error) { return m.append(b, c), nil })
}

func (s *entries[E, M]) read(r *reader, c *context, delta bool) {
	readTable(r, &s.table, func() M {
		var m M
		if m = m.read(r, c); !m.live() && !delta {
			r.failMention()
		}
		return m
	})
}
