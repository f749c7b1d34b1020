package quorum_test

import (
	"context"
	"testing"

	"github.com/parley-go/parley/quorum"
)

func BenchmarkGather(b *testing.B) {
	nodes := []string{"a", "b", "c"}
	call := func(context.Context, string) (int, error) { return 1, nil }
	b.ReportAllocs()
	for b.Loop() {
		if _, err := quorum.Gather(b.Context(), nodes, 2, call); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStore reads and writes with three stores on transport/mem, through
// one that owns the key.
func BenchmarkStore(b *testing.B) {
	names := []string{"a", "b", "c"}
	value := make([]byte, 128)
	operations := map[string]func(s *quorum.Store, key string) error{
		"Put": func(s *quorum.Store, key string) error {
			_, err := s.Put(b.Context(), key, value, quorum.Version{})
			return err
		},
		"Get": func(s *quorum.Store, key string) error {
			_, err := s.Get(b.Context(), key)
			return err
		},
	}
	keys := make([]string, 1024)
	for i := range keys {
		keys[i] = key(i)
	}
	for _, op := range []string{"Put", "Get"} {
		b.Run(op, func(b *testing.B) {
			c := newCluster(b, quorum.Config{}, names...).startAll(names...)
			for _, key := range keys {
				c.put("a", key, string(value))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if err := operations[op](c.stores["a"], keys[i%len(keys)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(op+"/parallel", func(b *testing.B) {
			c := newCluster(b, quorum.Config{}, names...).startAll(names...)
			for _, key := range keys {
				c.put("a", key, string(value))
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := operations[op](c.stores["a"], keys[i%len(keys)]); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
