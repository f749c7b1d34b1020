package quorum_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport/mem"
)

func ExampleGather() {
	prices := map[string]int{"east": 12, "west": 12}
	call := func(_ context.Context, node string) (int, error) {
		price, ok := prices[node]
		if !ok {
			return 0, errors.New("down")
		}
		return price, nil
	}
	answers, err := quorum.Gather(context.Background(), []string{"east", "north", "west"}, 2, call)
	fmt.Println(len(answers), answers[0].Value, err)

	_, err = quorum.Gather(context.Background(), []string{"north", "south"}, 2, call)
	fmt.Println(errors.Is(err, quorum.ErrQuorum))
	// Output:
	// 2 12 <nil>
	// true
}

func ExampleAnswer() {
	answers, _ := quorum.Gather(context.Background(), []string{"a"}, 1, func(_ context.Context, node string) (int, error) {
		return len(node), nil
	})
	fmt.Printf("%+v\n", answers)
	// Output: [{Node:a Value:1}]
}

func ExampleShortError() {
	_, err := quorum.Gather(context.Background(), []string{"a", "b"}, 1, func(_ context.Context, node string) (int, error) {
		return 0, errors.New("disk full")
	})
	var short *quorum.ShortError
	if errors.As(err, &short) {
		fmt.Println(short.Wanted, short.Of, short.Answered, short.Failed[0].Node)
	}
	fmt.Println(err)
	// Output:
	// 1 2 0 a
	// quorum: 1 of 2 wanted, 0 answered: a: disk full; b: disk full
}

func ExampleNodeError() {
	err := error(quorum.NodeError{Node: "a", Err: quorum.ErrRecovering})
	fmt.Println(err, errors.Is(err, quorum.ErrRecovering))
	// Output: a: quorum: replica is recovering true
}

func ExamplePanicError() {
	defer func() {
		err := recover().(*quorum.PanicError)
		fmt.Println(err.Node, err.Value)
	}()
	_, _ = quorum.Gather(context.Background(), []string{"a"}, 1, func(context.Context, string) (int, error) {
		panic("a bug")
	})
	// Output: a a bug
}

// exampleCluster starts three nodes in this process, and waits for them.
func exampleCluster() (stores map[string]*quorum.Store, stop func()) {
	ctx := context.Background()
	network := mem.NewNetwork()
	r, err := ring.New(ring.Config{}, ring.Node{Name: "a"}, ring.Node{Name: "b"}, ring.Node{Name: "c"})
	if err != nil {
		log.Fatal(err)
	}
	stores = map[string]*quorum.Store{}
	var ends []func() error
	for node := range r.Nodes() {
		t, err := network.Join(node.Name)
		if err != nil {
			log.Fatal(err)
		}
		config := quorum.Config{Transport: t, Ring: r, Storage: quorum.NewMemory()}
		stores[node.Name], err = quorum.Start(config)
		if err != nil {
			log.Fatal(err)
		}
		ends = append(ends, stores[node.Name].Close, t.Close)
	}
	for _, store := range stores {
		if err := store.Ready(ctx); err != nil {
			log.Fatal(err)
		}
	}
	return stores, func() {
		for _, end := range ends {
			_ = end()
		}
	}
}

func ExampleStore() {
	ctx := context.Background()
	stores, stop := exampleCluster()
	defer stop()

	version, err := stores["a"].Put(ctx, "user:42", []byte("Ada"), quorum.Version{})
	if err != nil {
		log.Fatal(err)
	}
	value, err := stores["b"].Get(ctx, "user:42")
	if err != nil {
		log.Fatal(err)
	}
	name, ok := value.Newest()
	fmt.Println(string(name), ok, value.Version == version)

	if _, err = stores["c"].Delete(ctx, "user:42", value.Version); err != nil {
		log.Fatal(err)
	}
	value, err = stores["a"].Get(ctx, "user:42")
	fmt.Println(len(value.Siblings), err)
	// Output:
	// Ada true true
	// 0 <nil>
}

func ExampleRead() {
	ctx := context.Background()
	stores, stop := exampleCluster()
	defer stop()
	if _, err := stores["a"].Put(ctx, "k", []byte("v"), quorum.Version{}); err != nil {
		log.Fatal(err)
	}
	// From whichever owner answers first; it may be the one that lags behind.
	_, err := stores["b"].Get(ctx, "k", quorum.Read{R: 1})
	fmt.Println(err)
	// From all three.
	value, err := stores["b"].Get(ctx, "k", quorum.Read{R: 3})
	fmt.Printf("%s %v\n", value.Siblings[0], err)
	// Output:
	// <nil>
	// v <nil>
}

func ExampleValue() {
	value := quorum.Value{Siblings: [][]byte{[]byte("v")}}
	newest, ok := value.Newest()
	fmt.Println(string(newest), ok)
	_, ok = quorum.Value{}.Newest()
	fmt.Println(ok)
	// Output:
	// v true
	// false
}

func ExampleVersion() {
	older := quorum.Version{Time: 1_700_000_000_000_000_000, Node: "a"}
	newer := quorum.Version{Time: older.Time, Logical: 1, Node: "a"}
	fmt.Println(older.Compare(newer), older == newer, quorum.Version{}.IsZero())

	data, err := newer.AppendBinary(nil) // to hand it to a client, and take it back
	if err != nil {
		log.Fatal(err)
	}
	var back quorum.Version
	fmt.Println(back.UnmarshalBinary(data), back == newer)
	// Output:
	// -1 false true
	// <nil> true
}

func ExampleSkewError() {
	stores, stop := exampleCluster()
	defer stop()
	year3000 := quorum.Version{Time: 1 << 61, Node: "mistaken"}
	_, err := stores["a"].Put(context.Background(), "k", nil, year3000)
	var skew *quorum.SkewError
	fmt.Println(errors.As(err, &skew), errors.Is(err, quorum.ErrSkew), skew.Bound)
	// Output: true true 10s
}

func ExampleStatus() {
	stores, stop := exampleCluster()
	defer stop()
	status := stores["a"].Status()
	fmt.Println(status.Node, status.Member, status.Ready, status.Peers[0].Node, status.Peers[1].Node)
	// Output: a true true b c
}

func ExamplePeerStatus() {
	stores, stop := exampleCluster()
	defer stop()
	var other quorum.PeerStatus = stores["a"].Status().Peers[0]
	fmt.Println(other.Node, other.Copied)
	// Output: b true
}

func ExampleConfig() {
	_, err := quorum.Start(quorum.Config{N: 3, R: 1, W: 1})
	fmt.Println(err)
	// Output: quorum: invalid: Config.Transport is nil
}

func ExampleStats() {
	stores, stop := exampleCluster()
	defer stop()
	_, _ = stores["a"].Get(context.Background(), "k")
	stats := stores["a"].Stats()
	fmt.Println(stats.Reads, stats.Writes, stats.Failed)
	// Output: 1 0 0
}

func ExampleEntry() {
	storage := quorum.NewMemory()
	v := quorum.Version{Time: 1, Node: "a"}
	_, _ = storage.Put("k", quorum.Record{Version: v, Deleted: true})
	var entries []quorum.Entry
	for entry := range storage.Scan("") {
		entries = append(entries, entry)
	}
	fmt.Println(entries[0].Key, entries[0].Record.Deleted)
	// Output: k true
}

func ExampleMemory() {
	var storage quorum.Storage = quorum.NewMemory()
	v := quorum.Version{Time: 1, Node: "a"}
	_, _ = storage.Put("k", quorum.Record{Version: v, Value: []byte("old")})
	v.Logical++
	_, _ = storage.Put("k", quorum.Record{Version: v, Value: []byte("new")})
	for entry, err := range storage.Scan("") {
		fmt.Println(entry.Key, string(entry.Record.Value), err)
	}
	// Output: k new <nil>
}
