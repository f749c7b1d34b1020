package raft

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A plainLog is what a logbook is: a slice of entries behind a base.
type plainLog struct {
	base, baseTerm uint64
	entries        []Entry
}

func (p *plainLog) last() uint64 { return p.base + uint64(len(p.entries)) }

func (p *plainLog) term(i uint64) (uint64, bool) {
	switch {
	case i == p.base:
		return p.baseTerm, true
	case i < p.base || i > p.last():
		return 0, false
	}
	return p.entries[i-p.base-1].Term, true
}

// A logbook behaves as a slice, over thousands of random operations; and what was
// once cut from it stays as it was, whatever happens to the log afterwards.
func TestLogbookIsASlice(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			var log logbook
			var model plainLog
			type cut struct{ got, want []Entry }
			var cuts []cut
			term := uint64(1)
			for step := range 400 {
				switch op := rnd.IntN(20); {
				case op < 11:
					n := 1 + rnd.IntN(3)
					if op == 0 {
						n = rnd.IntN(3000) // across chunks of all sizes
					}
					var entries []Entry
					for range n {
						term += uint64(rnd.IntN(20) / 19)
						entries = append(entries, Entry{Index: model.last() + uint64(len(entries)) + 1, Term: term, Data: fmt.Append(nil, step)})
					}
					log.append(entries)
					model.entries = append(model.entries, entries...)
					clear(entries) // the headers were copied
				case op < 14 && len(model.entries) > 0:
					i := model.base + 1 + rnd.Uint64N(uint64(len(model.entries)))
					log.truncate(i)
					model.entries = model.entries[: i-model.base-1 : i-model.base-1]
					term++ // what comes in its place is of a later leader
				case op < 16:
					i := model.base + rnd.Uint64N(uint64(len(model.entries))+1)
					log.compact(i)
					t, _ := model.term(i)
					model = plainLog{i, t, model.entries[i-model.base:]}
				case op == 16 && rnd.IntN(10) == 0:
					term++
					model = plainLog{model.last() + rnd.Uint64N(50), term, nil}
					log.restart(model.base, model.baseTerm)
				case model.last() > model.base:
					from := model.base + 1 + rnd.Uint64N(uint64(len(model.entries)))
					to := from + rnd.Uint64N(model.last()-from+1)
					most := rnd.IntN(4000)
					got := log.slice(from, to, most)
					require.NotEmpty(t, got)
					require.LessOrEqual(t, uint64(len(got)), to-from+1)
					require.True(t, len(got) == 1 || sizeOf(got) <= most)
					want := slices.Clone(model.entries[from-model.base-1:][:len(got)])
					require.True(t, alike(want, got))
					require.Equal(t, len(got), cap(got), "an append to it would write into the log")
					cuts = append(cuts, cut{got, want})
				}
				compareLogs(t, rnd, &log, &model)
			}
			for _, c := range cuts {
				require.True(t, alike(c.want, c.got), "a slice that was read changed later")
			}
		})
	}
}

func compareLogs(t *testing.T, rnd *rand.Rand, log *logbook, model *plainLog) {
	t.Helper()
	require.Equal(t, model.base+1, log.first())
	require.Equal(t, model.last(), log.last())
	lastTerm, _ := model.term(model.last())
	require.Equal(t, lastTerm, log.lastTerm())
	for range 5 {
		i := max(model.base, 3) - 3 + rnd.Uint64N(uint64(len(model.entries))+6)
		want, ok := model.term(i)
		got, held := log.term(i)
		require.Equal(t, ok, held, "index %d", i)
		require.Equal(t, want, got, "index %d", i)
		if held && i > model.base {
			require.Equal(t, model.entries[i-model.base-1], *log.at(i))
		}
		if i < model.base {
			continue
		}
		// The highest index not above i whose term is at most bound; the base, if
		// there is none.
		bound := rnd.Uint64N(lastTerm + 2)
		agree := min(i, model.last())
		for t, _ := model.term(agree); agree > model.base && t > bound; t, _ = model.term(agree) {
			agree--
		}
		require.Equal(t, agree, log.agree(i, bound), "agree(%d, %d)", i, bound)
	}
	require.Empty(t, log.slice(model.base, model.last(), 100), "what is compacted")
	require.Empty(t, log.slice(model.last()+1, model.last()+9, 100), "what is not there")
}

// Memory goes with the entries: chunks are dropped when their last entry is.
func TestLogbookLetsGoOfChunks(t *testing.T) {
	var log logbook
	for i := range uint64(100_000) {
		log.append([]Entry{{Index: i + 1, Term: 1}})
	}
	require.Less(t, len(log.chunks), 200)
	log.compact(99_000)
	require.Less(t, len(log.chunks), 4)
	log.compact(100_000)
	require.Empty(t, log.chunks)
	require.Equal(t, uint64(1), log.lastTerm())
	log.append([]Entry{{Index: 100_001, Term: 2}})
	require.Equal(t, uint64(2), log.at(100_001).Term)
}

func TestLogbookAppendDoesNotAllocateWithinAChunk(t *testing.T) {
	var log logbook
	entry := make([]Entry, 1)
	add := func() {
		entry[0] = Entry{Index: log.last() + 1, Term: 1}
		log.append(entry)
	}
	for range 5 * maxChunk {
		add()
	}
	require.Less(t, testing.AllocsPerRun(10*maxChunk, add), 0.01)
}

// A window is a queue of what is on the way, and counts it.
func TestWindowIsAQueue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var w window
	var queue []part
	index := uint64(0)
	for range 20_000 {
		switch op := rnd.IntN(100); {
		case op < 55 && len(queue) < 100:
			index += 1 + rnd.Uint64N(5)
			p := part{index, rnd.IntN(1000)}
			queue = append(queue, p)
			w.push(p.last, p.bytes)
		case op < 99:
			match := uint64(0)
			if len(queue) > 0 {
				match = queue[rnd.IntN(len(queue))].last - rnd.Uint64N(2)
			}
			w.free(match)
			for len(queue) > 0 && queue[0].last <= match {
				queue = queue[1:]
			}
		default:
			w.clear()
			queue = nil
		}
		bytes := 0
		for _, p := range queue {
			bytes += p.bytes
		}
		require.Equal(t, len(queue), w.n)
		require.Equal(t, bytes, w.bytes)
	}
	require.LessOrEqual(t, len(w.parts), 128, "no larger than what was in it at once")
}

// The same seed makes the same times, whatever other servers draw; another name
// or seed makes others.
func TestDrawsAreNamedBySeedAndServer(t *testing.T) {
	first := func(id string, seed uint64) time.Duration {
		config := testConfig
		config.id, config.seed = id, seed
		c, err := newCore(config, State{Hard: HardState{Term: 1}, Entries: logOf(abc, 1)}, 0)
		require.NoError(t, err)
		return c.electionAt
	}
	require.Equal(t, first("a", 1), first("a", 1))
	require.NotEqual(t, first("a", 1), first("b", 1))
	require.NotEqual(t, first("a", 1), first("a", 2))
}

// However few entries are saved at a time, MemoryStorage holds them in no more
// pieces than the log does: a long list of them would be copied while it grows.
func TestMemoryStorageHoldsNoMorePiecesThanTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := leaderOf(t, &gate{}, "a")
		for range 3 * maxChunk {
			_, err := n.Propose(t.Context(), []byte("x"))
			require.NoError(t, err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		require.Len(t, n.save.memory.log.chunks, len(n.core.log.chunks))
	})
}
