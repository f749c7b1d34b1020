package ring_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-go/parley/ring"
)

func ExampleRing() {
	r, err := ring.New(ring.Config{},
		ring.Node{Name: "a", Zone: "eu-1"}, ring.Node{Name: "b", Zone: "eu-1"},
		ring.Node{Name: "c", Zone: "eu-2"}, ring.Node{Name: "d", Zone: "eu-2"})
	if err != nil {
		fmt.Println(err)
		return
	}
	owner, _ := r.Owner("user:42")
	fmt.Println("owner:", owner)
	fmt.Println("two replicas, in two zones:", r.Owners(nil, "user:42", 2))
	r.Remove(owner)
	owner, _ = r.Owner("user:42")
	fmt.Println("owner now:", owner)
	// Output:
	// owner: d
	// two replicas, in two zones: [d a]
	// owner now: a
}

func ExampleConfig() {
	_, err := ring.New(ring.Config{VirtualNodes: -1})
	fmt.Println(errors.Is(err, ring.ErrInvalid), err)
	// Output:
	// true ring: invalid: Config.VirtualNodes is -1, want 1 to 65536, or 0 for 128
}

func ExampleNode() {
	r, err := ring.New(ring.Config{}, ring.Node{Name: "small"}, ring.Node{Name: "large", Weight: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	for name, share := range r.Snapshot().Shares() {
		fmt.Printf("%s has %.0f%% of the keys\n", name, 100*share)
	}
	// Output:
	// large has 75% of the keys
	// small has 25% of the keys
}

func ExampleSnapshot() {
	r, err := ring.New(ring.Config{}, ring.Node{Name: "a"})
	if err != nil {
		fmt.Println(err)
		return
	}
	before := r.Snapshot()
	if err := r.Set(ring.Node{Name: "b"}); err != nil {
		fmt.Println(err)
	}
	then, _ := before.Owner("key")
	now, _ := r.Owner("key")
	fmt.Println("version", before.Version(), then)
	fmt.Println("version", r.Version(), now)
	// Output:
	// version 1 a
	// version 2 b
}

func ExampleDiff() {
	r, err := ring.New(ring.Config{VirtualNodes: 2}, ring.Node{Name: "a"}, ring.Node{Name: "b"})
	if err != nil {
		fmt.Println(err)
		return
	}
	before := r.Snapshot()
	if err := r.Add(ring.Node{Name: "c"}); err != nil {
		fmt.Println(err)
	}
	for move := range ring.Diff(before, r) {
		fmt.Printf("%s to %s: %.1f%% of the keys\n", move.From, move.To, 100*move.Share())
	}
	// Output:
	// b to c: 32.6% of the keys
}

func ExampleSource() {
	r, err := ring.New(ring.Config{}, ring.Node{Name: "a"})
	if err != nil {
		fmt.Println(err)
		return
	}
	moves := func(before, after ring.Source) (n int) {
		for range ring.Diff(before, after) {
			n++
		}
		return n
	}
	before := r.Snapshot() // to keep it; the ring itself stands for its present state
	r.Remove("a")
	fmt.Println(moves(before, r), moves(r, r))
	// Output:
	// 1 0
}

func ExampleSpan() {
	low := ring.Span{Start: 0, End: 1<<62 - 1}
	fmt.Println(low, low.Share(), low.Contains(1<<62))
	// Output:
	// 0000000000000000-3fffffffffffffff 0.25 false
}

func ExampleMove() {
	m := ring.Move{Span: ring.Span{Start: 0, End: 255}, From: "a", To: "b"}
	fmt.Println(m)
	fmt.Println("has to copy the key:", m.Contains(ring.Hash("user:42")))
	// Output:
	// 0000000000000000-00000000000000ff: a -> b
	// has to copy the key: false
}

func ExampleHandover() {
	r, err := ring.New(ring.Config{VirtualNodes: 1}, ring.Node{Name: "a"}, ring.Node{Name: "b"})
	if err != nil {
		fmt.Println(err)
		return
	}
	before := r.Snapshot()
	if err := r.Add(ring.Node{Name: "c"}); err != nil {
		fmt.Println(err)
	}
	for h := range ring.DiffOwners(before, r, 2) {
		fmt.Println(h.Span, h.Before, "to", h.After)
	}
	// Output:
	// 40569ab3dec00000-460bec15721fffff [b a] to [b c]
	// 460bec1572200000-bd981c36736fffff [b a] to [c b]
	// bd981c3673700000-c0569ab3debfffff [a b] to [c a]
	// c0569ab3dec00000-c60bec15721fffff [a b] to [a c]
}

func ExamplePartitioner() {
	names := []string{"a", "b", "c"}
	for _, p := range []ring.Partitioner{
		ring.NewMaglev(names), ring.NewJump(names), ring.NewRendezvous(names), ring.NewModulo(names),
	} {
		owner, ok := p.Owner("user:42")
		fmt.Printf("%T %s %v\n", p, owner, ok)
	}
	// Output:
	// *ring.Maglev a true
	// *ring.Jump a true
	// *ring.Rendezvous a true
	// *ring.Modulo c true
}

func ExampleMaglev() {
	m := ring.NewMaglev([]string{"backend-1", "backend-2", "backend-3"})
	backend, _ := m.Owner("203.0.113.9:52810 tcp")
	fmt.Println(backend)
	// Output:
	// backend-3
}

func ExampleJump() {
	three := ring.NewJump([]string{"shard-0", "shard-1", "shard-2"})
	four := ring.NewJump([]string{"shard-0", "shard-1", "shard-2", "shard-3"})
	moved := 0
	for i := range 1000 {
		key := fmt.Sprint("user:", i)
		from, _ := three.Owner(key)
		to, _ := four.Owner(key)
		if from != to {
			moved++
		}
	}
	fmt.Println("of 1000 keys moved:", moved)
	// Output:
	// of 1000 keys moved: 262
}

func ExampleRendezvous() {
	r := ring.NewRendezvous([]string{"a", "b", "c"})
	owner, _ := r.Owner("user:42")
	fmt.Println(owner)
	// Output:
	// a
}

func ExampleModulo() {
	m := ring.NewModulo([]string{"queue-0", "queue-1"})
	owner, _ := m.Owner("user:42")
	fmt.Println(owner)
	// Output:
	// queue-0
}

func ExampleRange() {
	r, err := ring.NewRange(ring.KeyRange{Start: "", Node: "a"}, ring.KeyRange{Start: "n", Node: "b"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Split("g", "c") // a was busy: half of it goes to c
	owner, _ := r.Owner("hamburg")
	fmt.Println("hamburg is on", owner)
	for kr := range r.Between("f", "h") {
		fmt.Printf("a scan from f to h asks %s, from %q\n", kr.Node, kr.Start)
	}
	// Output:
	// hamburg is on c
	// a scan from f to h asks a, from ""
	// a scan from f to h asks c, from "g"
}

func ExampleKeyRange() {
	_, err := ring.NewRange(ring.KeyRange{Start: "m", Node: "a"}, ring.KeyRange{Start: "m", Node: "b"})
	fmt.Println(err)
	// Output:
	// ring: duplicate node: KeyRange.Start "m"
}

func ExampleDirectory() {
	d := ring.NewDirectory(ring.NewModulo([]string{"shared"}))
	d.Assign("tenant:large", "dedicated")
	for _, key := range []string{"tenant:large", "tenant:small"} {
		owner, _ := d.Owner(key)
		fmt.Println(key, "is on", owner)
	}
	// Output:
	// tenant:large is on dedicated
	// tenant:small is on shared
}

func ExampleBounded() {
	r, err := ring.New(ring.Config{}, ring.Node{Name: "a"}, ring.Node{Name: "b"}, ring.Node{Name: "c"})
	if err != nil {
		fmt.Println(err)
		return
	}
	b := ring.NewBounded(r, 1.25)
	for range 9 { // all for one key
		_, release, err := b.Acquire("popular")
		if err != nil {
			fmt.Println(err)
			return
		}
		defer release()
	}
	for name, held := range b.Loads() {
		fmt.Println(name, held)
	}
	// Output:
	// a 1
	// b 4
	// c 4
}

func ExampleSpread() {
	r, err := ring.New(ring.Config{}, named(10)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := ring.NewSpread(r, ring.SpreadConfig{Hot: ring.HotKeysConfig{Window: 5000}})
	if err != nil {
		fmt.Println(err)
		return
	}
	asked := map[string]bool{}
	for range 1000 {
		node, _ := s.One("celebrity")
		asked[node] = true
	}
	fmt.Println("read from", len(asked), "nodes, written to", len(s.All(nil, "celebrity")))
	// Output:
	// read from 3 nodes, written to 3
}

func ExampleSpreadConfig() {
	_, err := ring.NewSpread(nil, ring.SpreadConfig{Copies: 99})
	fmt.Println(err)
	// Output:
	// ring: invalid: SpreadConfig.Copies is 99, want 2 to 16, or 0 for 3
}

func ExampleHotKeys() {
	h, err := ring.NewHotKeys(ring.HotKeysConfig{Window: 10_000})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 20_000 {
		h.Record(fmt.Sprint("user:", i)) // each once
		if i%5 == 0 {
			h.Record("celebrity")
		}
	}
	for key, share := range h.Keys() {
		fmt.Printf("%s takes about %.0f%% of the requests\n", key, 100*share)
	}
	// Output:
	// celebrity takes about 17% of the requests
}

func ExampleHotKeysConfig() {
	_, err := ring.NewHotKeys(ring.HotKeysConfig{Threshold: 0.05, Window: 100})
	fmt.Println(err)
	// Output:
	// ring: invalid: HotKeysConfig.Window is 100, want 320 (16/Threshold) to 1073741824, or 0 for 1000/Threshold
}

func ExamplePlan() {
	before, err := ring.New(ring.Config{}, named(3)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	after, err := ring.New(ring.Config{}, named(4)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := ring.NewPlan(before, after, ring.PlanConfig{PerNode: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	m, _ := p.Moving("user:2")
	owner, _ := p.Owner("user:2")
	fmt.Println("before:", owner, "answers, and will hand over to", m.To)
	err = p.Run(context.Background(), func(_ context.Context, _ ring.Move) error {
		return nil // copy the keys with move.Contains(ring.Hash(key))
	})
	owner, _ = p.Owner("user:2")
	fmt.Println("after:", owner, "answers; left:", p.Left(), err)
	// Output:
	// before: node-2 answers, and will hand over to node-3
	// after: node-3 answers; left: 0 <nil>
}

func ExamplePlanConfig() {
	r, err := ring.New(ring.Config{}, named(3)...)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = ring.NewPlan(r, r, ring.PlanConfig{PerNode: 5000})
	fmt.Println(err)
	// Output:
	// ring: invalid: PlanConfig.PerNode is 5000, want 1 to 1024, or 0 for 2
}
