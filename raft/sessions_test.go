package raft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// apply gives a command to the table and to a state machine that returns what it
// has seen so far.
func (m *sessionModel) apply(e sessionEntry) (v verdict, result string) {
	v, kept := m.table.admit(&e)
	if v != applyIt {
		return v, string(kept)
	}
	m.seen = append(m.seen, string(e.command))
	result = fmt.Sprint(len(m.seen))
	m.table.keep(e.id, e.seq, []byte(result))
	return v, result
}

type sessionModel struct {
	table *sessionTable
	seen  []string
}

func TestSessionAppliesOnce(t *testing.T) {
	m := sessionModel{table: newSessionTable(2)}
	m.table.open(7)
	for _, step := range []struct {
		seq, lowest uint64
		verdict     verdict
		result      string
	}{
		{1, 1, applyIt, "1"},
		{1, 1, answered, "1"},
		{3, 1, applyIt, "2"}, // overtakes 2
		{2, 1, applyIt, "3"},
		{3, 1, answered, "2"},
		{4, 3, applyIt, "4"}, // 1 and 2 have been answered
		{1, 1, expired, ""},
		{2, 2, expired, ""},
		{3, 3, answered, "2"},
		{66, 3, applyIt, "5"}, // the last of the window
		{67, 4, applyIt, "6"},
		{3, 3, expired, ""},
	} {
		v, result := m.apply(sessionEntry{id: 7, seq: step.seq, lowest: step.lowest, command: fmt.Append(nil, step.seq)})
		require.Equal(t, step.verdict, v, "%+v", step)
		require.Equal(t, step.result, result, "%+v", step)
	}
	v, _ := m.apply(sessionEntry{id: 8, seq: 1, lowest: 1})
	require.Equal(t, expired, v, "no such session")
}

// The same command twice in one batch: the second has to wait for the result.
func TestSessionCommandTwiceInABatch(t *testing.T) {
	table := newSessionTable(2)
	table.open(1)
	e := sessionEntry{id: 1, seq: 1, lowest: 1}
	v, _ := table.admit(&e)
	require.Equal(t, applyIt, v)
	v, _ = table.admit(&e)
	require.Equal(t, beingDone, v)
	table.keep(1, 1, []byte("x"))
	v, result := table.admit(&e)
	require.Equal(t, answered, v)
	require.Equal(t, "x", string(result))
}

func TestSessionLeastRecentlyUsedMakesRoom(t *testing.T) {
	m := sessionModel{table: newSessionTable(2)}
	m.table.open(1)
	m.table.open(2)
	m.apply(sessionEntry{id: 1, seq: 1, lowest: 1})
	m.table.open(3) // 2 goes
	v, _ := m.apply(sessionEntry{id: 2, seq: 1, lowest: 1})
	require.Equal(t, expired, v)
	v, _ = m.apply(sessionEntry{id: 1, seq: 2, lowest: 1})
	require.Equal(t, applyIt, v)
	require.Len(t, m.table.sessions, 2)
}

// The table does not depend on where batches end, and a copy that was stored and
// loaded goes on like the original.
func TestSessionTableIsDeterministic(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	one, two := newSessionTable(4), newSessionTable(4)
	type kept struct {
		id, seq uint64
		result  []byte
	}
	var late []kept
	flush := func() {
		for _, k := range late {
			two.keep(k.id, k.seq, k.result)
		}
		late = nil
	}
	for i := range uint64(5000) {
		index := i + 1
		if rnd.IntN(20) == 0 {
			one.open(index)
			two.open(index)
			continue
		}
		var e sessionEntry
		for id := range one.sessions { // any
			e.id = id
		}
		if s := one.sessions[e.id]; s != nil {
			e.lowest = s.lowest + rnd.Uint64N(3)
			e.seq = e.lowest + rnd.Uint64N(5)
		}
		result := append(fmt.Append(nil, index), make([]byte, rnd.IntN(MaxSessionBytes/2))...)
		v, a := one.admit(&e)
		if v == applyIt {
			one.keep(e.id, e.seq, result)
		}
		w, b := two.admit(&e)
		if w == beingDone {
			flush()
			w, b = two.admit(&e)
		}
		if w == applyIt {
			late = append(late, kept{e.id, e.seq, result})
		}
		if v == answered && w == unknown || v == unknown && w == answered {
			flush() // the later commands of the batch come first
		} else {
			require.Equal(t, v, w)
			require.Equal(t, a, b)
		}
		if rnd.IntN(10) == 0 {
			flush()
			require.True(t, bytes.Equal(one.append(nil), two.append(nil)), "after %d", index)
		}
		if rnd.IntN(100) == 0 {
			flush()
			stored := two.append(nil)
			two = newSessionTable(4)
			require.NoError(t, two.decode(stored))
		}
	}
}

// A session keeps the results of the highest numbers, as far as there is room, and
// of the others that they were applied.
func TestSessionResultsAreBoundedInBytes(t *testing.T) {
	table := newSessionTable(2)
	table.open(1)
	apply := func(seq uint64, size int) {
		v, _ := table.admit(&sessionEntry{id: 1, seq: seq, lowest: 1})
		require.Equal(t, applyIt, v)
		table.keep(1, seq, bytes.Repeat([]byte{byte(seq)}, size))
	}
	check := func(want map[uint64]verdict) {
		t.Helper()
		stored := table.append(nil)
		require.Less(t, len(stored), MaxSessionBytes+100)
		again := newSessionTable(2)
		require.NoError(t, again.decode(stored))
		require.Equal(t, stored, again.append(nil))
		for seq, v := range want {
			for _, table := range []*sessionTable{table, again} {
				got, result := table.admit(&sessionEntry{id: 1, seq: seq, lowest: 1})
				require.Equal(t, v, got, seq)
				require.Equal(t, v == answered, len(result) > 0, seq)
			}
		}
	}
	const third = MaxSessionBytes / 3
	apply(1, third)
	apply(3, third)
	apply(5, third)
	check(map[uint64]verdict{1: answered, 3: answered, 5: answered})
	apply(4, third)
	check(map[uint64]verdict{1: unknown, 3: answered, 4: answered, 5: answered})
	apply(2, third)
	check(map[uint64]verdict{1: unknown, 2: unknown, 3: answered})
	apply(6, MaxSessionBytes+1) // never kept, and in nobody's way
	check(map[uint64]verdict{3: answered, 5: answered, 6: unknown})
	apply(7, MaxSessionBytes)
	check(map[uint64]verdict{1: unknown, 2: unknown, 3: unknown, 4: unknown, 5: unknown, 6: unknown, 7: answered})
	v, _ := table.admit(&sessionEntry{id: 1, seq: 8, lowest: 8})
	require.Equal(t, applyIt, v)
	require.Less(t, len(table.append(nil)), 10)
}

// What was stored before there was a bound on the bytes: sessions 5 and 9, and the
// results of commands 1 and 2 of the latter.
func TestSessionTableOfAnEarlierVersion(t *testing.T) {
	old := []byte{2, 5, 1, 0, 9, 1, 2, 1, 1, 'x', 2, 2, 'y', 'z'}
	table := newSessionTable(4)
	require.NoError(t, table.decode(old))
	for seq, want := range map[uint64]string{1: "x", 2: "yz"} {
		v, result := table.admit(&sessionEntry{id: 9, seq: seq, lowest: 1})
		require.Equal(t, answered, v)
		require.Equal(t, want, string(result))
	}
	require.Equal(t, old, table.append(nil), "and an earlier version reads it again")

	large := binary.AppendUvarint([]byte{1, 9, 1, 2, 1, 1, 'x', 2}, 10*MaxSessionBytes)
	table = newSessionTable(4)
	require.NoError(t, table.decode(append(large, make([]byte, 10*MaxSessionBytes)...)))
	require.Less(t, len(table.append(nil)), 100)
	v, _ := table.admit(&sessionEntry{id: 9, seq: 2, lowest: 1})
	require.Equal(t, unknown, v)
}

func FuzzSessionTable(f *testing.F) {
	m := sessionModel{table: newSessionTable(3)}
	f.Add(m.table.append(nil))
	m.table.open(5)
	m.table.open(9)
	m.apply(sessionEntry{id: 5, seq: 1, lowest: 1, command: []byte("x")})
	m.apply(sessionEntry{id: 5, seq: 3, lowest: 2, command: []byte("y")})
	f.Add(m.table.append(nil))
	m.table.keep(5, 3, make([]byte, MaxSessionBytes+1))
	f.Add(m.table.append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		table := newSessionTable(MaxSessions)
		if table.decode(data) != nil {
			return
		}
		stored := table.append(nil)
		again := newSessionTable(MaxSessions)
		require.NoError(t, again.decode(stored))
		require.Equal(t, stored, again.append(nil))
	})
}

func FuzzSessionEntry(f *testing.F) {
	f.Add(appendSessionOpen(nil))
	f.Add(appendSessionCommand(nil, CommandID{7, 3, 2}, []byte("x")))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e sessionEntry
		if e.decode(data) != nil || e.open {
			return
		}
		var again sessionEntry
		require.NoError(t, again.decode(appendSessionCommand(nil, CommandID{e.id, e.seq, e.lowest}, e.command)))
		require.Equal(t, e, again)
	})
}
