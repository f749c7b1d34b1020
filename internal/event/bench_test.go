package event

import (
	"fmt"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/draw"
)

// The bare queue: pop the first event, push it again some time later.
func BenchmarkQueue(b *testing.B) {
	for _, pending := range []int{10, 100, 1000, 100_000} {
		b.Run(fmt.Sprintf("pending=%d", pending), func(b *testing.B) {
			var q Queue[uint64]
			for i := range uint64(pending) {
				*q.Push(Key{At: time.Duration(draw.At(1, i) % 1000), Tie: i}) = i
			}
			b.ReportAllocs()
			for n := uint64(0); b.Loop(); n++ {
				k, e := q.Pop()
				k.At += time.Duration(draw.At(2, n) % 1000)
				*q.Push(k) = *e
			}
		})
	}
}

// A message goes round a ring of nodes; several at once.
func BenchmarkLoop(b *testing.B) {
	for name, faults := range map[string]Faults{
		"bare":   {},
		"delay":  {Delay: Uniform(time.Millisecond, 5*time.Millisecond)},
		"faults": {Delay: Uniform(time.Millisecond, 5*time.Millisecond), Duplicate: 0.01, Drop: 0.01, Reorder: 0.01, Bandwidth: 1 << 30},
	} {
		b.Run(name, func(b *testing.B) {
			const nodes = 5
			l, err := New[uint64](7, faults, "a", "b", "c", "d", "e")
			if err != nil {
				b.Fatal(err)
			}
			for i := range nodes {
				l.Send(i, (i+1)%nodes, 100, uint64(i))
			}
			b.ReportAllocs()
			for b.Loop() {
				e, ok := l.Next(1 << 62)
				if !ok {
					b.Fatal("no event")
				}
				if !e.Copy {
					l.Send(e.To, (e.To+1)%nodes, 100, e.Body)
				}
			}
		})
	}
}
