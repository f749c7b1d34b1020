package ring_test

import (
	"fmt"
	"testing"

	jump "github.com/dgryski/go-jump"
	rendezvous "github.com/dgryski/go-rendezvous"
	"github.com/parley-go/parley/ring"
)

// each runs f for every ring at each number of nodes.
func each(b *testing.B, sizes []int, f func(b *testing.B, n int, p peer)) {
	for _, n := range sizes {
		for _, p := range peers {
			if p.slow && n > 1000 {
				continue
			}
			b.Run(fmt.Sprintf("nodes=%d/impl=%s", n, p.name), func(b *testing.B) { f(b, n, p) })
		}
	}
}

// The owner of a key, and the most that a node has of half a million keys by
// what it should have.
func BenchmarkOwner(b *testing.B) {
	all := keys(500_000)
	each(b, []int{10, 100, 1000, 10_000}, func(b *testing.B, n int, p peer) {
		r := p.make(names(n))
		count, most := map[string]int{}, 0
		for _, key := range all {
			owner := r.owner(key)
			count[owner]++
			most = max(most, count[owner])
		}
		lookups(b, r.owner)
		if n <= 1000 { // with fewer than 500 keys a node, chance is all that shows
			b.ReportMetric(float64(most)*float64(n)/float64(len(all)), "max/mean")
		}
	})
}

// lookups measures f over keys that fit the cache.
func lookups(b *testing.B, f func(key string) string) {
	some := keys(1 << 14)
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		f(some[i&(len(some)-1)])
	}
}

// The three owners of a key.
func BenchmarkOwners(b *testing.B) {
	some := keys(1 << 14)
	for _, n := range []int{10, 1000} {
		for _, p := range peers {
			r := p.make(names(n))
			if r.owners == nil {
				continue
			}
			b.Run(fmt.Sprintf("nodes=%d/owners=3/impl=%s", n, p.name), func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					r.owners(some[i&(len(some)-1)], 3)
				}
			})
		}
	}
}

// A node joins and leaves again. Beside the time: how many keys move when it
// joins, by the number that must, and the share of all keys that move although
// neither their old nor their new owner is the one that joined.
func BenchmarkAddAndRemove(b *testing.B) {
	all := keys(200_000)
	each(b, []int{10, 1000}, func(b *testing.B, n int, p peer) {
		r := p.make(names(n))
		before := make([]string, len(all))
		for i, key := range all {
			before[i] = r.owner(key)
		}
		r.join("joiner:7000")
		moved, old := 0, 0
		for i, key := range all {
			if owner := r.owner(key); owner != before[i] {
				moved++
				if owner != "joiner:7000" {
					old++
				}
			}
		}
		r.leave("joiner:7000")
		b.ResetTimer()
		for b.Loop() {
			r.join("joiner:7000")
			r.leave("joiner:7000")
		}
		b.ReportMetric(float64(moved)*float64(n+1)/float64(len(all)), "moved/ideal")
		b.ReportMetric(float64(old)/float64(len(all)), "old-moves")
	})
}

// A ring from nothing.
func BenchmarkBuild(b *testing.B) {
	each(b, []int{10, 1000, 10_000}, func(b *testing.B, n int, p peer) {
		list := names(n)
		for b.Loop() {
			p.make(list)
		}
	})
}

// Jump consistent hashing, from the key to the node's name.
func BenchmarkJump(b *testing.B) {
	for _, n := range []int{10, 1000} {
		list := names(n)
		ours := ring.NewJump(list)
		b.Run(fmt.Sprintf("nodes=%d/impl=parley", n), func(b *testing.B) {
			lookups(b, func(key string) string { name, _ := ours.Owner(key); return name })
		})
		b.Run(fmt.Sprintf("nodes=%d/impl=go-jump", n), func(b *testing.B) {
			lookups(b, func(key string) string { return list[jump.Hash(ring.Hash(key), len(list))] })
		})
	}
}

// Rendezvous hashing, which asks every node.
func BenchmarkRendezvous(b *testing.B) {
	for _, n := range []int{10, 100} {
		list := names(n)
		ours, theirs := ring.NewRendezvous(list), rendezvous.New(list, ring.Hash)
		b.Run(fmt.Sprintf("nodes=%d/impl=parley", n), func(b *testing.B) {
			lookups(b, func(key string) string { name, _ := ours.Owner(key); return name })
		})
		b.Run(fmt.Sprintf("nodes=%d/impl=go-rendezvous", n), func(b *testing.B) {
			lookups(b, theirs.Lookup)
		})
	}
}

// Maglev's table, for which the list of peers has none: beside jump hashing, the
// other scheme for balancing.
func BenchmarkMaglev(b *testing.B) {
	for _, n := range []int{10, 600} {
		list := names(n)
		ours := ring.NewMaglev(list)
		b.Run(fmt.Sprintf("nodes=%d/impl=parley", n), func(b *testing.B) {
			lookups(b, func(key string) string { name, _ := ours.Owner(key); return name })
		})
		b.Run(fmt.Sprintf("nodes=%d/impl=go-jump", n), func(b *testing.B) {
			lookups(b, func(key string) string { return list[jump.Hash(ring.Hash(key), len(list))] })
		})
	}
}

// Ours is the jump consistent hash: the same buckets as the peer's.
func TestJumpIsTheSameFunction(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 1000} {
		list := names(n)
		ours := ring.NewJump(list)
		for _, key := range keys(2000) {
			if got, _ := ours.Owner(key); got != list[jump.Hash(ring.Hash(key), n)] {
				t.Fatalf("%s of %d is on %s, want %s", key, n, got, list[jump.Hash(ring.Hash(key), n)])
			}
		}
	}
}
