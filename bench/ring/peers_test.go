// Package ring_test compares consistent hashing: ours, buraksezer/consistent,
// stathat.com/c/consistent, serialx/hashring, golang/groupcache's, and
// lafikl/consistent; and the tables and formulas: go-jump, go-rendezvous.
//
// Every peer has the configuration that it comes with or that its README
// recommends, and a 64-bit xxHash where it lets one choose, which is what it is
// fastest with. The keys are the same for all.
package ring_test

import (
	"fmt"
	"slices"
	"unsafe"

	buraksezer "github.com/buraksezer/consistent"
	"github.com/golang/groupcache/consistenthash"
	lafikl "github.com/lafikl/consistent"
	"github.com/parley-go/parley/ring"
	"github.com/serialx/hashring"
	stathat "stathat.com/c/consistent"
)

// An impl is one implementation with some nodes. What it does not have is nil.
type impl struct {
	owner  func(key string) string
	owners func(key string, n int)
	join   func(name string)
	leave  func(name string)
}

// A peer makes an impl with the given nodes. One that is slow takes 15 seconds
// (lafikl), a minute (buraksezer) or three (stathat) to make one with 10,000, and
// is left out there.
type peer struct {
	name string
	make func(names []string) *impl
	slow bool
}

// peers lists all rings, ours first.
var peers = []peer{
	{"parley", parley, false},
	{"buraksezer", buraksezerConsistent, true},
	{"stathat", stathatConsistent, true},
	{"serialx", serialxHashring, false},
	{"groupcache", groupcacheMap, false},
	{"lafikl", lafiklConsistent, true},
}

func parley(names []string) *impl {
	nodes := make([]ring.Node, len(names))
	for i, name := range names {
		nodes[i].Name = name
	}
	r, err := ring.New(ring.Config{}, nodes...)
	if err != nil {
		panic(err)
	}
	buf := make([]string, 0, 8)
	return &impl{
		owner:  func(key string) string { name, _ := r.Owner(key); return name },
		owners: func(key string, n int) { r.Owners(buf, key, n) },
		join: func(name string) {
			if err := r.Add(ring.Node{Name: name}); err != nil {
				panic(err)
			}
		},
		leave: func(name string) { r.Remove(name) },
	}
}

type member string

func (m member) String() string { return string(m) }

type xxHash struct{}

func (xxHash) Sum64(data []byte) uint64 {
	return ring.Hash(unsafe.String(unsafe.SliceData(data), len(data)))
}

// buraksezerConsistent has 27 partitions a node, which is the proportion of its
// defaults (271 partitions) for ten.
func buraksezerConsistent(names []string) *impl {
	members := make([]buraksezer.Member, len(names))
	for i, name := range names {
		members[i] = member(name)
	}
	c := buraksezer.New(members, buraksezer.Config{
		PartitionCount: 27*len(names) + 1, ReplicationFactor: 20, Load: 1.25, Hasher: xxHash{},
	})
	return &impl{
		owner: func(key string) string { return c.LocateKey([]byte(key)).String() },
		owners: func(key string, n int) {
			if _, err := c.GetClosestN([]byte(key), n); err != nil {
				panic(err)
			}
		},
		join:  func(name string) { c.Add(member(name)) },
		leave: c.Remove,
	}
}

func stathatConsistent(names []string) *impl {
	c := stathat.New()
	c.Set(names)
	return &impl{
		owner: func(key string) string { name, _ := c.Get(key); return name },
		owners: func(key string, n int) {
			if _, err := c.GetN(key, n); err != nil {
				panic(err)
			}
		},
		join:  c.Add,
		leave: c.Remove,
	}
}

func serialxHashring(names []string) *impl {
	h := hashring.New(names)
	return &impl{
		owner:  func(key string) string { name, _ := h.GetNode(key); return name },
		owners: func(key string, n int) { h.GetNodes(key, n) },
		join:   func(name string) { h = h.AddNode(name) },
		leave:  func(name string) { h = h.RemoveNode(name) },
	}
}

// groupcacheMap has the 50 replicas and the default hash of groupcache's pool,
// and is made anew for each change, as the pool does it.
func groupcacheMap(names []string) *impl {
	m := consistenthash.New(50, nil)
	m.Add(names...)
	names = slices.Clone(names)
	anew := func() {
		m = consistenthash.New(50, nil)
		m.Add(names...)
	}
	return &impl{
		owner: func(key string) string { return m.Get(key) },
		join: func(name string) {
			names = append(names, name)
			anew()
		},
		leave: func(name string) {
			names = slices.DeleteFunc(names, func(n string) bool { return n == name })
			anew()
		},
	}
}

func lafiklConsistent(names []string) *impl {
	c := lafikl.New()
	for _, name := range names {
		c.Add(name)
	}
	return &impl{
		owner: func(key string) string { name, _ := c.Get(key); return name },
		join:  c.Add,
		leave: func(name string) { c.Remove(name) },
	}
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("10.%d.%d.%d:7000", i>>16, i>>8&255, i&255)
	}
	return out
}

func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("user:%d", i)
	}
	return out
}
