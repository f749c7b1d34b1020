package ring_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/ring"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew; a change of placement strands the data of every user")

// Placement is frozen: where keys lie is on the disks of users. What these files
// hold never changes; a new scheme gets a new name.

func TestPlacementIsFrozen(t *testing.T) {
	var out strings.Builder
	nodes := []ring.Node{
		{Name: "alpha", Zone: "eu-1", Weight: 2},
		{Name: "beta", Zone: "eu-1"},
		{Name: "gamma", Zone: "eu-2"},
		{Name: "delta", Zone: "us-1", Weight: 3},
		{Name: "epsilon", Zone: "us-1"},
	}
	for _, virtual := range []int{0, 1, 16} {
		r, err := ring.New(ring.Config{VirtualNodes: virtual}, nodes...)
		require.NoError(t, err)
		for _, key := range append(keys(20), "", "\x00", "\x00\x00", "日本語", strings.Repeat("long", 100)) {
			fmt.Fprintf(&out, "virtual=%d %q %v\n", virtual, key[:min(len(key), 12)], r.Owners(nil, key, 4))
		}
	}
	golden(t, "owners", out.String())
}

// All spans of larger rings, as a digest: no key can have moved.
func TestPlacementOfEveryKeyIsFrozen(t *testing.T) {
	var out strings.Builder
	for _, n := range []int{1, 2, 10, 100} {
		digest := sha256.New()
		for span, owners := range newRing(t, named(n)...).Snapshot().Spans(2) {
			digest.Write(fmt.Appendln(nil, span, owners))
		}
		fmt.Fprintf(&out, "nodes=%d %x\n", n, digest.Sum(nil))
	}
	digest, large := sha256.New(), newRing(t, named(1000)...)
	for _, key := range keys(10_000) {
		digest.Write(fmt.Appendln(nil, large.Owners(nil, key, 3)))
	}
	fmt.Fprintf(&out, "nodes=1000, 10,000 keys %x\n", digest.Sum(nil))
	golden(t, "spans", out.String())
}

func TestPlacementOfPartitionersIsFrozen(t *testing.T) {
	var out strings.Builder
	for _, n := range []int{1, 7, 1000} {
		for _, p := range []ring.Partitioner{
			ring.NewModulo(names(n)), ring.NewJump(names(n)), ring.NewRendezvous(names(n)), ring.NewMaglev(names(n)),
		} {
			digest := sha256.New()
			for i, key := range keys(2000) {
				owner, _ := p.Owner(key)
				if i < 3 {
					fmt.Fprintf(&out, "%T of %d: %s is on %s\n", p, n, key, owner)
				}
				digest.Write(fmt.Appendln(nil, owner))
			}
			fmt.Fprintf(&out, "%T of %d: %x\n", p, n, digest.Sum(nil))
		}
	}
	golden(t, "partitioners", out.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// The hash of keys is XXH64 with seed 0: these are published values.
func TestHashIsXXH64(t *testing.T) {
	require.Equal(t, uint64(0xef46db3751d8e999), ring.Hash(""))
	require.Equal(t, uint64(0xd24ec4f1a98c6e5b), ring.Hash("a"))
	require.Equal(t, uint64(0x44bc2cf5ad770999), ring.Hash("abc"))
}
