package raft

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// collect has orders take commands of the given sizes, and returns them.
func collect(o *orders, s *slab, group string, rng *rand.Rand, sizes ...int) (commands [][]byte) {
	for _, size := range sizes {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		kind := EntryCommand
		if rng.IntN(3) == 0 {
			kind = EntrySession
		}
		commands = append(commands, bytes.Clone(data))
		o.entries = append(o.entries, Entry{Kind: kind, Data: o.encode(s, headRoom(group), kind, data)})
		clear(data) // the caller's again
	}
	o.endFrame(s)
	return commands
}

// A frame is the same body as the message would make by itself, whatever the sizes,
// and for the greatest numbers.
func TestFrameIsTheMessage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s slab
	for round := range 300 {
		group := string(make([]byte, rng.IntN(MaxGroup+1)))
		sizes := make([]int, 1+rng.IntN(20))
		for i := range sizes {
			sizes[i] = rng.IntN(1 << rng.IntN(11))
			if rng.IntN(200) == 0 {
				sizes[i] = maxFrame - 100 + rng.IntN(200)
			}
		}
		var o orders
		commands := collect(&o, &s, group, rng, sizes...)
		m := message{Kind: msgAppend, Term: rng.Uint64() >> rng.IntN(64), Index: rng.Uint64() >> (1 + rng.IntN(63)), LogTerm: rng.Uint64() >> rng.IntN(64), Commit: rng.Uint64() >> rng.IntN(64), Round: rng.Uint64()}
		at := 0
		for i := range o.frames {
			f := &o.frames[i]
			m.Entries = o.entries[at : at+f.entries]
			for k := range m.Entries {
				m.Entries[k].Index, m.Entries[k].Term = m.Index+1+uint64(k), m.Term
				require.True(t, bytes.Equal(commands[at+k], m.Entries[k].Data), "command %d of round %d", at+k, round)
			}
			f.first, f.term = m.Index+1, m.Term
			want := appendMessage([]byte{wireVersion}, group, &m)
			require.True(t, bytes.Equal(want, f.seal(group, &m)), "frame %d of round %d", i, round)
			at += f.entries
		}
		require.Equal(t, len(sizes), at, "entries in frames")
	}
}

// Frames that follow each other are cut from one piece of memory, with nothing
// between them, and none reaches into another.
func TestFramesShareTheirSlab(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := make(slab, 0, maxFrame)
	whole := s[:cap(s)]
	var used int
	for range 20 {
		var o orders
		collect(&o, &s, "", rng, 100, 200)
		require.Len(t, o.frames, 1)
		f := &o.frames[0]
		require.Same(t, &whole[used], &f.memory[0])
		require.Equal(t, len(f.memory), cap(f.memory))
		used += len(f.memory)
	}
	require.Len(t, s, used)
}

// frames returns a node on which entries were just proposed at index 11, in term 3.
func frames(t *testing.T, sizes ...int) (*Node, []Entry) {
	t.Helper()
	var o orders
	var s slab
	collect(&o, &s, "", rand.New(rand.NewPCG(1, 2)), sizes...)
	for i := range o.entries {
		o.entries[i].Index, o.entries[i].Term = 11+uint64(i), 3
	}
	first := uint64(11)
	for i := range o.frames {
		o.frames[i].first, o.frames[i].term = first, 3
		first += uint64(o.frames[i].entries)
	}
	return &Node{frames: o.frames}, o.entries
}

// Only what holds just the entries of a frame, in its term, is sent as the frame.
func TestFrameOf(t *testing.T) {
	n, entries := frames(t, 10, 20, 30, 40)
	app := func(term, index uint64, entries []Entry) message {
		return message{Kind: msgAppend, Term: term, Index: index, Entries: entries}
	}
	for _, tt := range []struct {
		name string
		run  []message
		want bool
	}{
		{"all", []message{app(3, 10, entries)}, true},
		{"in two messages", []message{app(3, 10, entries[:1]), app(3, 11, entries[1:])}, true},
		{"with an empty one", []message{app(3, 10, entries), app(3, 14, nil)}, true},
		{"with a later commit index", []message{app(3, 10, entries[:1]), {Kind: msgAppend, Term: 3, Index: 11, Entries: entries[1:], Commit: 9}}, false},
		{"in a later round", []message{app(3, 10, entries[:1]), {Kind: msgAppend, Term: 3, Index: 11, Entries: entries[1:], Round: 9}}, false},
		{"not the last", []message{app(3, 10, entries[:3])}, false},
		{"not the first", []message{app(3, 11, entries[1:])}, false},
		{"the first twice", []message{app(3, 10, entries[:2]), app(3, 10, entries[:2])}, false},
		{"in another order", []message{app(3, 12, entries[2:]), app(3, 10, entries[:2])}, false},
		{"sent again in a later term", []message{app(4, 10, entries)}, false},
		{"before something else", []message{app(3, 10, entries), {Kind: msgTimeoutNow, Term: 3}}, false},
		{"behind something else", []message{{Kind: msgTimeoutNow, Term: 3}, app(3, 10, entries)}, false},
	} {
		require.Equal(t, tt.want, n.frameOf(tt.run) != nil, tt.name)
	}
	run := []message{app(3, 10, entries)}
	n.frameOf(run).seal("", &run[0])
	require.Nil(t, n.frameOf(run), "its memory is with others, who would see another head")
}

// A command without content looks on the leader as on all who decode it.
func TestEmptyCommandIsTheSameEverywhere(t *testing.T) {
	var o orders
	var s slab
	room := headRoom("")
	o.entries = []Entry{
		{Index: 1, Term: 1, Data: o.encode(&s, room, EntryCommand, []byte{})},
		{Index: 2, Term: 1, Data: o.encode(&s, room, EntryCommand, nil)},
	}
	o.endFrame(&s)
	body := o.frames[0].seal("", &message{Kind: msgAppend, Term: 1})
	r := reader{rest: body[1:]}
	r.string(MaxGroup)
	var m message
	r.message(&m, nil)
	require.NoError(t, r.err)
	require.Equal(t, m.Entries, o.entries)
}

// The queue lets go of commands that were refused: nobody else has use for them.
func TestRefusedCommandsAreForgotten(t *testing.T) {
	n := startAlone(t, Config{}, "a", "b", "c") // which knows no leader
	n.queue.draining = true                     // all come in one batch
	for range 3 {
		require.True(t, n.queue.put(t.Context(), n, EntryCommand, make([]byte, maxFrame), n.newWaiter()))
	}
	n.drain()
	for _, o := range []*orders{&n.queue.spare, &n.queue.filling} {
		for i, f := range o.frames[:cap(o.frames)] {
			require.Zero(t, len(f.memory), "bytes of frame %d", i)
		}
	}
}
