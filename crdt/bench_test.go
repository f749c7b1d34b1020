package crdt_test

import (
	"fmt"
	"testing"

	"github.com/parley-go/parley/crdt"
)

func BenchmarkGCounterAdd(b *testing.B) {
	c := crdt.NewGCounter("a")
	b.ReportAllocs()
	for b.Loop() {
		c.Add(1)
	}
}

// The delta of an addition taken in elsewhere.
func BenchmarkGCounterAddAndMerge(b *testing.B) {
	c, d := crdt.NewGCounter("a"), crdt.NewGCounter("b")
	b.ReportAllocs()
	for b.Loop() {
		d.Merge(c.Add(1))
	}
}

func BenchmarkGCounterMerge(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("replicas=%d", n), func(b *testing.B) {
			c, d := counterOf(b, n), counterOf(b, n)
			b.ReportAllocs()
			for b.Loop() {
				c.Merge(d)
			}
		})
	}
}

// counterOf returns a counter that n replicas have counted with, read from bytes
// as if it had come in a message.
func counterOf(tb testing.TB, n int) *crdt.GCounter {
	all := crdt.NewGCounter("reader")
	for i := range n {
		all.Merge(crdt.NewGCounter(fmt.Sprintf("replica-%03d", i)).Add(uint64(i + 1)))
	}
	data, err := all.AppendBinary(nil)
	if err != nil {
		tb.Fatal(err)
	}
	c := new(crdt.GCounter)
	if err := c.UnmarshalBinary(data); err != nil {
		tb.Fatal(err)
	}
	return c
}

func large() (*crdt.ORSet[string], []string) {
	s := crdt.NewORSet[string]("replica-1")
	elements := make([]string, 100_000)
	for i := range elements {
		elements[i] = fmt.Sprintf("element-%06d", i)
		s.Add(elements[i])
	}
	return s, elements
}

func BenchmarkORSetAdd(b *testing.B) {
	s, elements := large()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(elements[i*7919%len(elements)])
	}
}

func BenchmarkORSetRemoveAndAdd(b *testing.B) {
	s, elements := large()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e := elements[i*7919%len(elements)]
		s.Remove(e)
		s.Add(e)
	}
}

func BenchmarkORSetMergeDelta(b *testing.B) {
	s, elements := large()
	var other crdt.ORSet[string]
	other.Merge(s)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		other.Merge(s.Add(elements[i*7919%len(elements)]))
	}
}

func BenchmarkORSetMergeWhole(b *testing.B) {
	s, _ := large()
	var other crdt.ORSet[string]
	other.Merge(s)
	b.ReportAllocs()
	for b.Loop() {
		if other.Merge(s) {
			b.Fatal("changed")
		}
	}
}

func BenchmarkORSetAddInt(b *testing.B) {
	s := crdt.NewORSet[int]("replica-1")
	for i := range 100_000 {
		s.Add(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Add(i * 7919 % 100_000)
	}
}

// The delta of an addition as it is sent.
func BenchmarkORSetAddAndEncode(b *testing.B) {
	s, elements := large()
	buf := make([]byte, 0, 128)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Add(elements[i%100]).AppendBinary(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkORMapUpdate(b *testing.B) {
	m := crdt.NewORMap[int, *crdt.PNCounter]("replica-1")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Update(i%1000, func(c *crdt.PNCounter) { c.Add(1) })
	}
}
