package raft

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

var everyMessage = []message{
	{Kind: msgAppend, Term: 3},
	{Kind: msgAppend, Term: 3, Index: 9, LogTerm: 2, Commit: 8, Round: 7, Entries: []Entry{
		{Index: 10, Term: 2, Kind: EntryCommand, Data: []byte("x")},
		{Index: 11, Term: 3, Kind: EntryNoop},
		{Index: 12, Term: 3, Kind: EntryMembership, Data: make([]byte, 300)},
		{Index: 13, Term: 3, Kind: EntrySession, Data: []byte("yz")},
	}},
	{Kind: msgAppendReply, Term: 1, Index: 4, Hint: 3, LogTerm: 1, Reject: true},
	{Kind: msgHeartbeat, Term: math.MaxUint64, Commit: math.MaxUint64, Round: 1},
	{Kind: msgHeartbeatReply, Term: 1, Index: 12, Round: 1},
	{Kind: msgPreVote, Term: 2, Index: 1, LogTerm: 1},
	{Kind: msgPreVoteReply, Term: 2},
	{Kind: msgVote, Term: 2, Index: 1, LogTerm: 1, Force: true},
	{Kind: msgVoteReply, Term: 2, Reject: true},
	{Kind: msgTimeoutNow, Term: 2},
	{Kind: msgSnapshot, Term: 2, Index: 100, LogTerm: 2, Round: 3},
}

// readBody reads a body as Host.receive does.
func readBody(body []byte) (groups []string, messages []message, err error) {
	r := reader{rest: body}
	if r.byte() != wireVersion {
		return nil, nil, errMalformed
	}
	var s slab
	for r.err == nil && len(r.rest) > 0 {
		var m message
		group := r.string(255)
		if r.message(&m, &s); r.err == nil {
			groups, messages = append(groups, string(group)), append(messages, m)
		}
	}
	return groups, messages, r.err
}

func TestMessagesSurviveTheWire(t *testing.T) {
	body := []byte{wireVersion}
	for i := range everyMessage {
		body = appendMessage(body, fmt.Sprint("group-", i), &everyMessage[i])
	}
	groups, messages, err := readBody(body)
	require.NoError(t, err)
	require.Len(t, messages, len(everyMessage))
	for i, want := range everyMessage {
		got := messages[i]
		require.Equal(t, fmt.Sprint("group-", i), groups[i])
		require.Equal(t, len(want.Entries), len(got.Entries))
		for k := range want.Entries {
			require.Equal(t, want.Entries[k], got.Entries[k])
		}
		got.Entries, want.Entries = nil, nil
		require.Equal(t, want, got)
	}
	for n := range len(body) - 1 {
		_, messages, _ := readBody(body[:n])
		require.Less(t, len(messages), len(everyMessage))
	}
}

// What was decoded does not change with the body that it came in.
func TestEntriesDoNotAliasTheBody(t *testing.T) {
	body := appendMessage([]byte{wireVersion}, "", &everyMessage[1])
	_, messages, err := readBody(body)
	require.NoError(t, err)
	clear(body)
	require.Equal(t, "x", string(messages[0].Entries[0].Data))
}

// An append of the usual kind costs one byte a message for the group, and two an
// entry of 16 bytes.
func TestWireIsSmall(t *testing.T) {
	m := message{Kind: msgAppend, Term: 2, Index: 1000, LogTerm: 2, Commit: 1000, Round: 5}
	for range 100 {
		m.Entries = append(m.Entries, Entry{Term: 2, Data: make([]byte, 16)})
	}
	require.LessOrEqual(t, len(appendMessage(nil, "", &m)), 100*18+20)
	require.LessOrEqual(t, len(appendMessage(nil, "users-7", &message{Kind: msgHeartbeat, Term: 2, Commit: 1000, Round: 5})), 16)
}

func TestDecodingDoesNotAllocateForEntries(t *testing.T) {
	body := appendMessage([]byte{wireVersion}, "", &everyMessage[1])
	var m message
	var s slab
	allocs := testing.AllocsPerRun(1000, func() {
		r := reader{rest: body[1:]}
		r.string(255)
		r.message(&m, &s)
	})
	require.Less(t, allocs, 0.1) // slabs
}

func FuzzBody(f *testing.F) {
	body := []byte{wireVersion}
	for i := range everyMessage {
		f.Add(appendMessage([]byte{wireVersion}, "g", &everyMessage[i]))
		body = appendMessage(body, "g", &everyMessage[i])
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, data []byte) {
		groups, messages, err := readBody(data)
		if err != nil {
			return
		}
		again := []byte{wireVersion}
		for i := range messages {
			again = appendMessage(again, groups[i], &messages[i])
		}
		_, same, err := readBody(again)
		require.NoError(t, err)
		require.Equal(t, messages, same)
	})
}

var everyRequest = []request{
	{op: opPropose, group: []byte("g"), kind: EntryCommand, term: 7, life: 5, seq: 900, data: []byte("x")},
	{op: opPropose, kind: EntrySession, data: []byte{}},
	{op: opRead, group: []byte("g"), data: []byte{}},
	{op: opTransfer, group: []byte("g"), data: []byte("node")},
	{op: opReconfigure, group: []byte("g"), data: []byte("membership")},
	{op: opSnapshot, group: []byte("g"), index: 1, term: 2, from: 1 << 40, data: []byte{}},
}

func FuzzRequest(f *testing.F) {
	for _, q := range everyRequest {
		f.Add(q.append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var q, again request
		if q.decode(data) != nil {
			return
		}
		require.NoError(t, again.decode(q.append(nil)))
		require.Equal(t, q, again)
	})
}

func TestErrorsKeepTheirIdentityOnTheWire(t *testing.T) {
	for _, want := range wireErrors {
		_, err := readResponse("b", appendResponse(nil, nil, fmt.Errorf("%w: for some reason", want)))
		for _, e := range wireErrors {
			require.Equal(t, e == want, errors.Is(err, e), "%v as %v", want, e)
		}
		require.ErrorContains(t, err, "for some reason")
		require.ErrorContains(t, err, "b")
	}
	for _, local := range []error{ErrClosed, ErrFailed} {
		_, err := readResponse("b", appendResponse(nil, nil, uncertain(local)))
		require.ErrorIs(t, err, ErrUncertain)
		require.NotErrorIs(t, err, local, "it is the other node that is closed, or failed")
	}
	result, err := readResponse("b", appendResponse(nil, []byte("result"), nil))
	require.NoError(t, err)
	require.Equal(t, "result", string(result))
}

func FuzzResponse(f *testing.F) {
	f.Add(appendResponse(nil, []byte("result"), nil))
	f.Add(appendResponse(nil, nil, dropped(ErrNotLeader)))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, err := readResponse("b", data)
		if err != nil {
			_ = err.Error()
		}
	})
}

// Pieces stay below 64 KiB, as the transport asks of what is large.
func TestPiecesFitIntoACall(t *testing.T) {
	m := Membership{Voters: []string{"a", "b", "c"}}
	form, _ := m.AppendBinary(nil)
	response := appendResponse(nil, bytes.Repeat([]byte{1}, pieceBytes+len(form)+20), nil)
	require.Less(t, len(response), 64<<10)
}

// A glutton reads everything that it is to restore.
type glutton struct{ read []byte }

func (g *glutton) Apply([]Command) error                      { return nil }
func (g *glutton) Snapshot() (func(w io.Writer) error, error) { return nil, nil }

func (g *glutton) Restore(r io.Reader) (err error) {
	g.read, err = io.ReadAll(r)
	return err
}

// Contents that were not written by writeSnapshot are refused, and what is not
// refused is what was written.
func FuzzSnapshotContents(f *testing.F) {
	sessions := newSessionTable(MaxSessions)
	sessions.open(7)
	n := &Node{config: Config{Storage: NewMemoryStorage()}}
	write := func(w io.Writer) error { _, err := w.Write([]byte("state")); return err }
	if err := n.writeSnapshot(SnapshotInfo{Index: 9, Term: 1}, sessions.append(nil), write); err != nil {
		f.Fatal(err)
	}
	r, err := n.config.Storage.OpenSnapshot()
	if err != nil {
		f.Fatal(err)
	}
	written := make([]byte, r.Size())
	if _, err := r.ReadAt(written, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(written)
	f.Add(written[:len(written)-1])
	f.Add([]byte{snapshotVersion, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		table, machine := newSessionTable(MaxSessions), &glutton{}
		if restoreSnapshot(bytes.NewReader(data), int64(len(data)), table, machine) != nil {
			return
		}
		require.Equal(t, data[snapshotHead+binary.LittleEndian.Uint64(data[1:]):len(data)-snapshotFoot], machine.read)
	})
}
