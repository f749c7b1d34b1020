package quorum

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	longKey   = strings.Repeat("k", MaxKey)
	longName  = strings.Repeat("n", maxName)
	maxRecord = Record{
		Version: Version{Time: maxTime, Logical: math.MaxUint32, Node: longName, Run: math.MaxUint32},
		Value:   bytes.Repeat([]byte("v"), MaxValue),
	}
)

func requests() []request {
	return []request{
		{op: opVersion, key: "k"},
		{op: opGet, key: "\x00"},
		{op: opPut, key: "k", record: Record{Version: v1, Value: []byte("value")}},
		{op: opPut, key: "k", record: Record{Version: v1, Value: []byte{}}},
		{op: opRepair, key: "k", record: Record{Version: v2, Deleted: true, Value: []byte{}}},
		{op: opRepair, key: longKey, record: maxRecord},
		{op: opMeet, incarnation: 1 << 63},
		{op: opCopy, incarnation: 5},
		{op: opCopy, incarnation: 5, key: "after this"},
	}
}

func TestRequestsArriveAsTheyWereSent(t *testing.T) {
	for _, want := range requests() {
		var got request
		require.NoError(t, got.decode(want.append(nil)))
		require.Equal(t, want, got)
	}
}

func TestMessagesFitIntoACall(t *testing.T) {
	put := request{op: opPut, key: longKey, record: maxRecord}
	require.LessOrEqual(t, len(put.append(nil)), maxMessage)

	owners := make([]string, MaxReplicas)
	for i := range owners {
		owners[i] = longName
	}
	require.LessOrEqual(t, len(appendAck(nil, owners, &standing{}, true, maxRecord)), maxMessage)

	entry := Entry{Key: longKey, Record: maxRecord}
	require.LessOrEqual(t, entrySize(entry), pageRoom, "every record fits into a page of its own")
	p := page{source: math.MaxUint64, cursor: longKey, entries: []Entry{entry}}
	require.LessOrEqual(t, len(p.append(nil)), maxMessage)
	small := Entry{Key: "k", Record: Record{Version: maxRecord.Version}}
	p.entries = nil
	for room := pageRoom - entrySize(small); room >= 0; room -= entrySize(small) {
		p.entries = append(p.entries, small)
	}
	require.LessOrEqual(t, len(p.append(nil)), maxMessage)
}

func TestAcksCarryTheLivesOfTheOwnersThatWereAsked(t *testing.T) {
	s := &standing{incarnation: 5, peers: map[string]peer{"b": {known: 7}, "c": {known: 8}}}
	b := appendAck(nil, []string{"c", "a", "b"}, s, true, Record{Version: v1, Value: []byte("x")})
	r := reader{rest: b}
	require.Equal(t, statusAck, readStatus(&r))
	a := readAck(&r, []string{"a", "b", "d"})
	require.NoError(t, r.end())
	require.Equal(t, uint64(5), a.incarnation)
	require.Equal(t, [MaxReplicas]uint64{0, 7, 0}, a.known, "in the order of the asker's owners, who may see other ones")
	require.True(t, a.readable)
	require.Equal(t, "x", string(a.record.Value))
}

func TestSkewIsReportedAcrossTheNetwork(t *testing.T) {
	want := &SkewError{Version: v1, Ahead: time.Hour, Bound: time.Second}
	r := reader{rest: appendSkew(nil, want)}
	require.Equal(t, statusSkew, readStatus(&r))
	require.Equal(t, want, readSkew(&r))
	require.NoError(t, r.end())
}

// FuzzRequest: what can be read is bounded, and writing it again and reading
// that gives the same.
func FuzzRequest(f *testing.F) {
	for _, q := range requests() {
		f.Add(q.append(nil))
	}
	f.Add([]byte{wireFormat, byte(opCopy), 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var q, again request
		if q.decode(data) != nil {
			return
		}
		require.LessOrEqual(t, len(q.key), MaxKey)
		require.LessOrEqual(t, len(q.record.Value), MaxValue)
		require.NoError(t, again.decode(q.append(nil)))
		require.Equal(t, q, again)
	})
}

// FuzzResponse: no response makes its reader panic or take more than its size.
func FuzzResponse(f *testing.F) {
	owners := []string{"a", "b", "c"}
	s := &standing{incarnation: 5, peers: map[string]peer{"b": {known: 7}}}
	p := page{source: 1, cursor: "k", entries: []Entry{{Key: "k", Record: Record{Version: v1, Value: []byte("x")}}}}
	f.Add(appendAck(nil, owners, s, true, Record{Version: v1, Value: []byte("x")}))
	f.Add(p.append(nil))
	f.Add(appendSkew(nil, &SkewError{Version: v1}))
	f.Add(appendIncarnation(nil, statusMet, 9))
	f.Add(append(appendIncarnation(nil, statusPage, 9), 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, read := range []func(r *reader){
			func(r *reader) { readAck(r, owners) },
			func(r *reader) { _ = readSkew(r) },
			func(r *reader) { require.LessOrEqual(t, len(readPage(r).entries), len(data)) },
		} {
			r := reader{rest: data}
			readStatus(&r)
			read(&r)
			_ = r.end()
		}
	})
}

// FuzzState: neither a damaged state nor a damaged version is taken for another
// one, nor does it panic.
func FuzzState(f *testing.F) {
	r := recovery{incarnation: 5, peers: []peer{{name: "b", known: 3}}}
	f.Add(r.encode())
	b, _ := v1.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := newRecovery([]string{"b", "c"}, 2, 0, data, 1); len(data) > 0 && err == nil {
			again, err := newRecovery([]string{"b", "c"}, 2, 0, r.encode(), 2)
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		var v, w Version
		if v.UnmarshalBinary(data) == nil {
			b, err := v.AppendBinary(nil)
			require.NoError(t, err)
			require.NoError(t, w.UnmarshalBinary(b))
			require.Equal(t, v, w)
		}
	})
}
