// Package crdt_test compares replicated data types.
//
// No Go library of them can be had from the module proxy that is both known and
// complete, so the baselines are what one writes from the papers:
//
//   - textbook: the specifications of Shapiro et al., 2011, on maps. Its set gives
//     every addition a tag and keeps the tags of removed elements for ever. It has no
//     deltas: a replica sends all that it has.
//   - map: a plain map from elements to numbers, which replicates nothing. It is the
//     floor under any set.
//
// Neither encodes anything, so that bytes are ours alone.
package crdt_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/parley-go/parley/crdt"
)

// A mapCounter is the G-counter of the paper, specification 6.
type mapCounter map[string]uint64

func (c mapCounter) merge(d mapCounter) {
	for replica, n := range d {
		c[replica] = max(c[replica], n)
	}
}

func (c mapCounter) value() (sum uint64) {
	for _, n := range c {
		sum += n
	}
	return sum
}

func replica(i int) string { return fmt.Sprintf("replica-%03d", i) }

// counters returns two counters of n replicas, as if one had come in a message.
func counters(b *testing.B, n int) (ours, theirs *crdt.GCounter, book, bookTheirs mapCounter) {
	ours, theirs, book = crdt.NewGCounter(replica(0)), new(crdt.GCounter), mapCounter{}
	for i := 1; i < n; i++ {
		ours.Merge(crdt.NewGCounter(replica(i)).Add(uint64(i)))
		book[replica(i)] = uint64(i)
	}
	ours.Add(1)
	book[replica(0)] = 1
	data, err := ours.AppendBinary(nil)
	if err == nil {
		err = theirs.UnmarshalBinary(data)
	}
	if err != nil {
		b.Fatal(err)
	}
	return ours, theirs, book, maps.Clone(book)
}

// One addition. Ours returns its delta as well, for which the textbook sends the
// whole map.
func BenchmarkCounterAdd(b *testing.B) {
	const replicas = 10
	ours, _, book, _ := counters(b, replicas)
	b.Run("replicas=10/impl=parley", func(b *testing.B) {
		for b.Loop() {
			ours.Add(1)
		}
	})
	b.Run("replicas=10/impl=textbook", func(b *testing.B) {
		for b.Loop() {
			book["replica-000"]++
		}
	})
}

// One addition, and another replica takes it in.
func BenchmarkCounterAddAndReceive(b *testing.B) {
	for _, n := range []int{10, 100} {
		ours, theirs, book, bookTheirs := counters(b, n)
		b.Run(fmt.Sprintf("replicas=%d/impl=parley", n), func(b *testing.B) {
			for b.Loop() {
				theirs.Merge(ours.Add(1))
			}
		})
		b.Run(fmt.Sprintf("replicas=%d/impl=textbook", n), func(b *testing.B) {
			for b.Loop() {
				book["replica-000"]++
				bookTheirs.merge(book)
			}
		})
		if ours.Value() != theirs.Value() || book.value() != bookTheirs.value() {
			b.Fatal("they differ")
		}
	}
}

// Whole states of which neither is newer.
func BenchmarkCounterMerge(b *testing.B) {
	for _, n := range []int{10, 100} {
		ours, theirs, book, bookTheirs := counters(b, n)
		b.Run(fmt.Sprintf("replicas=%d/impl=parley", n), func(b *testing.B) {
			for b.Loop() {
				ours.Merge(theirs)
			}
		})
		b.Run(fmt.Sprintf("replicas=%d/impl=textbook", n), func(b *testing.B) {
			for b.Loop() {
				book.merge(bookTheirs)
			}
		})
	}
}

// A tagSet is the OR-set of the paper, specification 15: elements with the tags of
// their additions, and all tags that were ever removed.
type tagSet struct {
	replica string
	next    uint64
	added   map[string]map[tag]struct{}
	removed map[tag]struct{}
}

type tag struct {
	replica string
	n       uint64
}

func newTagSet(replica string) *tagSet {
	return &tagSet{replica: replica, added: map[string]map[tag]struct{}{}, removed: map[tag]struct{}{}}
}

func (s *tagSet) add(element string) {
	s.next++
	tags := s.added[element]
	if tags == nil {
		tags = map[tag]struct{}{}
		s.added[element] = tags
	}
	tags[tag{s.replica, s.next}] = struct{}{}
}

func (s *tagSet) remove(element string) {
	for t := range s.added[element] {
		s.removed[t] = struct{}{}
	}
	delete(s.added, element)
}

func (s *tagSet) merge(other *tagSet) {
	maps.Copy(s.removed, other.removed)
	for element, tags := range other.added {
		for t := range tags {
			if _, gone := s.removed[t]; gone {
				continue
			}
			if s.added[element] == nil {
				s.added[element] = map[tag]struct{}{}
			}
			s.added[element][t] = struct{}{}
		}
	}
	for element, tags := range s.added {
		for t := range tags {
			if _, gone := s.removed[t]; gone {
				delete(tags, t)
			}
		}
		if len(tags) == 0 {
			delete(s.added, element)
		}
	}
}

// A set is what the benchmarks of sets need.
type set struct {
	name        string
	add, remove func(element string)
}

const many = 100_000

func elements() []string {
	all := make([]string, many)
	for i := range all {
		all[i] = fmt.Sprintf("element-%06d", i)
	}
	return all
}

// each runs f for every set with 100,000 elements in it, and gives it a walk through
// them that the caches cannot foresee.
func each(b *testing.B, f func(b *testing.B, s set, walk func() string)) {
	all := elements()
	sets := func() []set {
		ours, book, plain := crdt.NewORSet[string](replica(1)), newTagSet(replica(1)), map[string]uint64{}
		return []set{
			{"parley", func(e string) { ours.Add(e) }, func(e string) { ours.Remove(e) }},
			{"textbook", book.add, book.remove},
			{"map", func(e string) { plain[e]++ }, func(e string) { delete(plain, e) }},
		}
	}
	for i, s := range sets() {
		b.Run(fmt.Sprintf("elements=%d/impl=%s", many, s.name), func(b *testing.B) {
			s := sets()[i] // a new one for each run
			for _, e := range all {
				s.add(e)
			}
			at := 0
			f(b, s, func() string {
				at = (at + 7919) % many
				return all[at]
			})
		})
	}
}

// Half of what this says is for the addition, and half for the removal. Ours has made
// the deltas by then.
func BenchmarkSetRemoveAndAdd(b *testing.B) {
	each(b, func(b *testing.B, s set, walk func() string) {
		for b.Loop() {
			e := walk()
			s.remove(e)
			s.add(e)
		}
	})
}

// What is in the set is added again, as a client does that cannot know.
func BenchmarkSetAddAgain(b *testing.B) {
	each(b, func(b *testing.B, s set, walk func() string) {
		for b.Loop() {
			s.add(walk())
		}
	})
}

// One replica adds an element and takes it out again, and another one hears of both.
// The textbook has to send everything.
func BenchmarkSetReceive(b *testing.B) {
	all := elements()[:1000]
	b.Run("elements=1000/impl=parley", func(b *testing.B) {
		ours, theirs := crdt.NewORSet[string](replica(1)), crdt.NewORSet[string](replica(2))
		for _, e := range all {
			theirs.Merge(ours.Add(e))
		}
		for b.Loop() {
			theirs.Merge(ours.Add("new"))
			theirs.Merge(ours.Remove("new"))
		}
	})
	b.Run("elements=1000/impl=textbook", func(b *testing.B) {
		ours, theirs := newTagSet(replica(1)), newTagSet(replica(2))
		for _, e := range all {
			ours.add(e)
		}
		theirs.merge(ours)
		for b.Loop() {
			ours.add("new")
			theirs.merge(ours)
			ours.remove("new")
			theirs.merge(ours)
		}
	})
}

// A million additions and removals, ten elements at a time: how many things a
// replica has in its state in the end, with every name, dot, tag and element one.
func BenchmarkSetChurn(b *testing.B) {
	const changes = 1_000_000
	if testing.Short() {
		b.Skip("a million changes")
	}
	churn := func(add, remove func(element string)) {
		for i := range changes / 2 {
			add(fmt.Sprint(i))
			if i >= 10 {
				remove(fmt.Sprint(i - 10))
			}
		}
	}
	b.Run("changes=1000000/impl=parley", func(b *testing.B) {
		for b.Loop() {
			s := crdt.NewORSet[string](replica(1))
			churn(func(e string) { s.Add(e) }, func(e string) { s.Remove(e) })
			b.ReportMetric(float64(s.Len()*2+s.Seen().Len()*2), "entries/state")
		}
	})
	b.Run("changes=1000000/impl=textbook", func(b *testing.B) {
		for b.Loop() {
			s := newTagSet(replica(1))
			churn(s.add, s.remove)
			b.ReportMetric(float64(len(s.added)*2+len(s.removed)), "entries/state")
		}
	})
}
