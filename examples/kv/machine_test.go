package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/raft"
)

// carry applies one order and returns what became of its edits.
func carry(t *testing.T, m *machine, at int64, edits ...edit) []outcome {
	t.Helper()
	commands := []raft.Command{{Data: order{at: at, edits: edits}.append(nil)}}
	require.NoError(t, m.Apply(commands))
	outcomes, err := decodeOutcomes(commands[0].Result, len(edits))
	require.NoError(t, err)
	return outcomes
}

func setTo(key, value string) edit {
	return edit{verb: put, key: key, item: item{value: []byte(value)}}
}

// contents is what the machine holds by the time of its log.
func contents(m *machine) map[string]string {
	all := map[string]string{}
	for _, b := range m.table.buckets {
		if b == nil {
			continue
		}
		for key, it := range b.items {
			if !it.expired(time.UnixMilli(m.clock)) {
				all[key] = fmt.Sprintf("%q until %d", it.value, it.expires)
			}
		}
	}
	return all
}

// image writes a snapshot to its end.
func image(t *testing.T, write func(io.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	return b.Bytes()
}

// A snapshot is the state of its moment, whatever is applied before it is
// written; and the state that goes on is not touched by it.
func TestSnapshotIsOfItsMomentWhileApplyGoesOn(t *testing.T) {
	m, random := newMachine(), rand.New(rand.NewPCG(5, 0))
	edits := func(n int) {
		for range n {
			key := fmt.Sprint("key ", random.IntN(500))
			switch random.IntN(4) {
			case 0:
				carry(t, m, m.clock+1, edit{verb: remove, key: key})
			case 1:
				carry(t, m, m.clock+1, edit{verb: extend, key: key, item: item{value: []byte("x")}})
			case 2:
				carry(t, m, m.clock+1, edit{verb: expire, key: key, only: ifPresent, item: item{expires: m.clock + random.Int64N(200)}})
			default:
				carry(t, m, m.clock+1, setTo(key, fmt.Sprint(random.Int())))
			}
		}
	}
	type taken struct {
		write func(io.Writer) error
		want  map[string]string
		clock int64
	}
	var all []taken
	m.clock = 1000
	for range 5 {
		edits(1000)
		write, err := m.Snapshot()
		require.NoError(t, err)
		all = append(all, taken{write, contents(m), m.clock})
	}
	edits(1000)
	want := contents(m)
	for _, s := range all {
		restored := newMachine()
		require.NoError(t, restored.Restore(bytes.NewReader(image(t, s.write))))
		require.Equal(t, s.want, contents(restored))
		require.Equal(t, s.clock, restored.clock)
	}
	require.Equal(t, want, contents(m))
}

// It is written beside Apply; the race detector watches.
func TestSnapshotIsWrittenBesideApply(t *testing.T) {
	m := newMachine()
	for i := range 2000 {
		carry(t, m, 1, setTo(fmt.Sprint(i), "before"))
	}
	write, err := m.Snapshot()
	require.NoError(t, err)
	written := make(chan []byte)
	go func() {
		var b bytes.Buffer
		_ = write(&b)
		written <- b.Bytes()
	}()
	for i := range 2000 {
		carry(t, m, 1, setTo(fmt.Sprint(i), "after"))
	}
	restored := newMachine()
	require.NoError(t, restored.Restore(bytes.NewReader(<-written)))
	for _, s := range contents(restored) {
		require.Equal(t, `"before" until 0`, s)
	}
	require.Len(t, contents(restored), 2000)
}

// The same log gives the same state and the same answers, in batches of whatever
// size and with a restart from a snapshot in the middle.
func TestReplicasAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 0))
	var log [][]byte
	at := int64(1_000_000)
	for range 3000 {
		at += random.Int64N(5) - 1 // some come late
		var edits []edit
		for range random.IntN(3) {
			edits = append(edits, edit{
				verb: put + verb(random.IntN(5)), key: fmt.Sprint(random.IntN(40)), only: condition(random.IntN(4)), equals: []byte("1"),
				keepExpiry: random.IntN(2) == 0, wantsOld: random.IntN(2) == 0, by: int64(random.IntN(10)),
				item: item{value: fmt.Append(nil, random.IntN(3)), expires: max(0, (at+random.Int64N(200)-100)*random.Int64N(2))},
			})
		}
		log = append(log, order{at, edits}.append(nil))
	}
	play := func(m *machine, log [][]byte) (results []string) {
		for len(log) > 0 {
			n := 1 + random.IntN(min(20, len(log)))
			batch := make([]raft.Command, n)
			for i := range batch {
				batch[i].Data = bytes.Clone(log[i])
			}
			require.NoError(t, m.Apply(batch))
			for i := range batch {
				results = append(results, string(batch[i].Result))
				clear(batch[i].Data) // it is the log's, and may be gone after Apply
			}
			log = log[n:]
		}
		return results
	}
	one, other := newMachine(), newMachine()
	want := play(one, log)
	half := len(log) / 2
	got := play(other, log[:half])
	write, err := other.Snapshot()
	require.NoError(t, err)
	other = newMachine()
	require.NoError(t, other.Restore(bytes.NewReader(image(t, write))))
	got = append(got, play(other, log[half:])...)
	require.Equal(t, want, got)
	require.Equal(t, contents(one), contents(other))
	require.Equal(t, one.clock, other.clock)
}

// An item ends when the log says so: neither the wall clock of a node nor an entry
// with an older time changes that.
func TestExpiryGoesByTheClockOfTheLog(t *testing.T) {
	m := newMachine()
	const begin = 1_000_000
	brief := setTo("k", "v")
	brief.item.expires = begin + 100
	carry(t, m, begin, brief)
	get := edit{verb: put, key: "k", only: ifAbsent, wantsOld: true}
	require.True(t, carry(t, m, begin+99, get)[0].existed)
	require.False(t, carry(t, m, begin+100, edit{verb: remove, key: "k", only: ifPresent})[0].done)
	require.Empty(t, contents(m))

	carry(t, m, begin+100, brief)
	require.Empty(t, contents(m), "it is over before it begins")
	require.False(t, carry(t, m, begin+50, get)[0].existed, "the clock does not go back")

	brief.item.expires = begin + 70 + 100 // 100 ms from the time that its node believed in
	carry(t, m, begin+70, brief)
	require.Equal(t, map[string]string{"k": fmt.Sprintf(`"v" until %d`, begin+100+100)}, contents(m))
}

// What is over for a node is over for all before anybody is told: until the log
// says so, get is late.
func TestReadOfWhatIsOverIsLateUntilTheLogSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		brief := setTo("k", "v")
		brief.item.expires = 1_000_100
		carry(t, m, 1_000_000, brief, setTo("other", "v"))
		time.Sleep(99 * time.Millisecond)
		items, late, _ := m.get([]string{"k"})
		require.False(t, late)
		require.Equal(t, "v", string(items[0].value))
		time.Sleep(time.Millisecond)
		_, late, at := m.get([]string{"other", "k"})
		require.True(t, late)
		_, late, _ = m.get([]string{"other"})
		require.False(t, late)
		carry(t, m, at.UnixMilli())
		items, late, _ = m.get([]string{"other", "k"})
		require.False(t, late)
		require.Equal(t, "v", string(items[0].value))
		require.True(t, items[1].expired(m.now()))
	})
}

// The time of a node does not go back when it hears from one that is behind.
func TestTimeOfANodeDoesNotGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		carry(t, m, 1_000_000)
		time.Sleep(50 * time.Millisecond)
		require.EqualValues(t, 1_000_050, m.now().UnixMilli())
		carry(t, m, 1_000_020)
		require.EqualValues(t, 1_000_050, m.now().UnixMilli())
		carry(t, m, 1_000_080)
		require.EqualValues(t, 1_000_080, m.now().UnixMilli())
		time.Sleep(50 * time.Millisecond)
		require.EqualValues(t, 1_000_130, m.now().UnixMilli())
	})
}

// What is over does not stay in memory, also if nobody asks for it.
func TestExpiredItemsAreSwept(t *testing.T) {
	m := newMachine()
	for i := range 5000 {
		e := setTo(fmt.Sprint(i), "v")
		e.item.expires = 2000
		carry(t, m, 1000, e)
	}
	for range tableBuckets {
		carry(t, m, 2000)
	}
	for _, b := range m.table.buckets {
		require.True(t, b == nil || len(b.items) == 0)
	}
}

// An order that cannot be read changes nothing, on any node, and stops none.
func TestUnreadableOrderIsAnswered(t *testing.T) {
	m := newMachine()
	commands := []raft.Command{{Data: []byte("?")}, {Data: order{at: 1, edits: []edit{setTo("k", "v")}}.append(nil)}}
	require.NoError(t, m.Apply(commands))
	outcomes, err := decodeOutcomes(commands[0].Result, 1)
	require.NoError(t, err)
	require.Contains(t, outcomes[0].failure, "not in the format")
	require.Len(t, contents(m), 1)
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	m := newMachine()
	carry(t, m, 7, setTo("a", "1"), setTo("b", strings.Repeat("x", maxValue)))
	write, err := m.Snapshot()
	require.NoError(t, err)
	whole := image(t, write)
	for n := range whole {
		if n%97 == 0 || n < 100 {
			require.ErrorIs(t, newMachine().Restore(bytes.NewReader(whole[:n])), errImage, "%d bytes of %d", n, len(whole))
		}
	}
	require.ErrorIs(t, newMachine().Restore(bytes.NewReader(append(whole, 0))), errImage)
	require.ErrorIs(t, newMachine().Restore(bytes.NewReader(append([]byte{imageVersion + 1}, whole[1:]...))), errImage)

	require.Error(t, m.Restore(strings.NewReader("?")))
	require.Len(t, contents(m), 2, "a failed Restore leaves the old state")
}

// Whatever is on disk, Restore does not panic, and what it takes over it can give
// back.
func FuzzRestore(f *testing.F) {
	m := newMachine()
	for i := range 3 {
		e := setTo(fmt.Sprint("key ", i), "value")
		e.item.expires = int64(i) * 1000
		_ = m.Apply([]raft.Command{{Data: order{at: 1, edits: []edit{e}}.append(nil)}})
	}
	write, _ := m.Snapshot()
	var b bytes.Buffer
	_ = write(&b)
	f.Add(b.Bytes())
	f.Add([]byte{imageVersion, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMachine()
		if err := m.Restore(bytes.NewReader(data)); err != nil {
			require.ErrorIs(t, err, errImage)
			return
		}
		write, err := m.Snapshot()
		require.NoError(t, err)
		again := newMachine()
		require.NoError(t, again.Restore(bytes.NewReader(image(t, write))))
		require.Equal(t, contents(m), contents(again))
	})
}

// Whatever is in the log, an order is refused or is what would be written, and can
// be carried out.
func FuzzDecodeOrder(f *testing.F) {
	f.Add(order{at: 1}.append(nil))
	f.Add(order{at: maxExpiry, edits: []edit{setTo("k", "v"), {verb: add, key: "n", by: math.MaxInt64}, {verb: expire, key: "k", item: item{expires: 2 * maxExpiry}}}}.append(nil))
	f.Add([]byte{orderVersion, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOrder(b)
		if err != nil {
			require.ErrorIs(t, err, errEdit)
			return
		}
		require.Equal(t, b, o.append(nil))
		m := newMachine()
		result := m.carryOut(b)
		_, err = decodeOutcomes(result, len(o.edits))
		require.NoError(t, err)
		write, err := m.Snapshot()
		require.NoError(t, err)
		require.NoError(t, newMachine().Restore(bytes.NewReader(image(t, write))))
	})
}

func BenchmarkApply(b *testing.B) {
	m := newMachine()
	batch := make([]raft.Command, 64)
	for i := range batch {
		batch[i].Data = order{at: 1, edits: []edit{setTo(fmt.Sprint("key ", i), "value")}}.append(nil)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Apply(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch)), "ns/order")
}

// Snapshot is what Apply has to wait for.
func BenchmarkSnapshot(b *testing.B) {
	m := newMachine()
	for i := range 100_000 {
		m.table.set(fmt.Sprint(i), item{value: []byte("v")})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Snapshot(); err != nil {
			b.Fatal(err)
		}
	}
}
