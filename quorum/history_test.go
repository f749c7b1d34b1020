package quorum_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
)

type kind int

const (
	read kind = iota
	write
)

// An operation is one read or write as its client saw it.
type operation struct {
	kind       kind
	node, key  string
	value      string
	deleted    bool // the write was a deletion, or the read found nothing
	version    quorum.Version
	start, end time.Duration
}

func (o operation) String() string {
	verb := [...]string{"read", "wrote"}[o.kind]
	return fmt.Sprintf("%s %s %s=%q (deleted %v) version %v from %v to %v", o.node, verb, o.key, o.value, o.deleted, o.version, o.start, o.end)
}

// A history is what all clients saw.
type history struct {
	done      []operation
	uncertain []operation // writes that may have taken effect, at any time since their start
	failed    int
}

// check fails the test unless the registers were linearizable. The versions
// give the order: it is enough that every version has one value, written by
// somebody, and that the order of the versions agrees with that in time (Lynch,
// "Distributed Algorithms", 1996, lemma 13.16).
func (h *history) check(t *testing.T) {
	t.Helper()
	byKey := map[string][]operation{}
	for _, o := range h.done {
		byKey[o.key] = append(byKey[o.key], o)
	}
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for key := range byKey {
			if !yield(key) {
				return
			}
		}
	}) {
		h.checkKey(t, byKey[key])
	}
}

func (h *history) checkKey(t *testing.T, done []operation) {
	t.Helper()
	writers := map[string]operation{} // by value
	for _, o := range h.uncertain {
		writers[o.value] = o
	}
	written := map[quorum.Version]operation{}
	for _, o := range done {
		if o.kind != write {
			continue
		}
		require.NotContains(t, written, o.version, "two writes have one version: %v", o)
		written[o.version] = o
		if !o.deleted {
			writers[o.value] = o
		}
	}
	seenAs := map[string]quorum.Version{}
	effects := slices.Clone(done)
	for _, o := range done {
		if o.kind != read || o.deleted {
			continue
		}
		w, ok := writers[o.value]
		require.True(t, ok, "nobody wrote what was read: %v", o)
		require.Less(t, w.start, o.end, "read before it was written: %v", o)
		if v, ok := seenAs[o.value]; ok {
			require.Equal(t, v, o.version, "one write took effect twice: %v", o)
			continue
		}
		seenAs[o.value] = o.version
		if !w.version.IsZero() {
			require.Equal(t, w.version, o.version, "the version read is not the one written: %v", o)
			continue
		}
		w.version, w.end = o.version, time.Duration(1<<62)
		effects = append(effects, w)
	}
	checkOrder(t, effects)
}

// checkOrder goes through the operations in the order of their starts and holds
// each against the newest that had ended by then.
func checkOrder(t *testing.T, operations []operation) {
	t.Helper()
	starts, ends := slices.Clone(operations), slices.Clone(operations)
	slices.SortStableFunc(starts, func(a, b operation) int { return cmp.Compare(a.start, b.start) })
	slices.SortStableFunc(ends, func(a, b operation) int { return cmp.Compare(a.end, b.end) })
	var newest operation
	for _, o := range starts {
		for len(ends) > 0 && ends[0].end < o.start {
			if ends[0].version.Compare(newest.version) > 0 {
				newest = ends[0]
			}
			ends = ends[1:]
		}
		order := o.version.Compare(newest.version)
		if order < 0 || order == 0 && o.kind == write && newest.kind == write {
			t.Fatalf("went back in time:\n%v\nafter\n%v", o, newest)
		}
	}
}
