package lb

import (
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
)

// A host that has gone is forgotten: its memory is given back, once its calls are
// done.
func TestTrapDepartedHostsKeptForEver(t *testing.T) {
	for _, policy := range []Policy{RoundRobin{}, Weighted{}, LatencyAware{}, ConsistentHash{}, Maglev{}} {
		b, err := New(Config{Policy: policy}, Backend{Name: "stays"}, Backend{Name: "goes"})
		require.NoError(t, err)
		p, err := b.Pick(Request{})
		require.NoError(t, err)
		gone := weak.Make(b.hosts["goes"])
		require.True(t, b.Remove("goes"))
		p.Done(nil)
		p = Pick{}
		for range 10 {
			if runtime.GC(); gone.Value() == nil {
				break
			}
		}
		require.Nil(t, gone.Value(), "%v", policy)
		require.Len(t, b.hosts, 1)
		runtime.KeepAlive(b)
	}
}

// A remainder by multiplication is the remainder.
func TestScheduleRemainder(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 10, 1000, 65535, 65536, 100_000} {
		hosts, shares := make([]*host, n), make([]float64, n)
		for i := range hosts {
			hosts[i], shares[i] = &host{place: uint64(i)}, 1
		}
		s := newSchedule(hosts, shares, 0)
		for _, turn := range []uint32{0, 1, 2, 9, uint32(n - 1), uint32(n), uint32(n + 1), 1 << 20, 1<<31 - 1, 1 << 31, math.MaxUint32 - 1, math.MaxUint32} {
			require.Equal(t, uint64(turn)%uint64(n), s.next(turn).place, "%d mod %d", turn, n)
		}
	}
}

// The table of aliases gives every host its share of all draws.
func TestChoicesAreExact(t *testing.T) {
	for _, shares := range [][]float64{{1}, {1, 1, 1}, {1, 2, 3, 4}, {1000, 1, 1}, {0.001, 1, 5, 5, 0.3}} {
		hosts := make([]*host, len(shares))
		total := 0.0
		for i, share := range shares {
			hosts[i] = &host{}
			total += share
		}
		choices := newChoices(hosts, shares)
		got := make([]float64, len(shares))
		for i, c := range choices {
			stays := (float64(c.keep) + 1) / (1 << 32)
			got[i] += stays / float64(len(shares))
			got[c.other] += (1 - stays) / float64(len(shares))
		}
		for i, share := range shares {
			require.InDelta(t, share/total, got[i], 1e-6, "%v", shares)
		}
	}
}

func TestForecastPacks(t *testing.T) {
	for _, f := range []forecast{{}, {1, 0, 1}, {1e9, 1, enough}, {12345.678, 0.5, 3}, {math.MaxFloat32, 0.001, 255}} {
		got := unpack(f.pack())
		require.Equal(t, f.latency, got.latency)
		require.Equal(t, f.calls, got.calls)
		require.InDelta(t, f.failing, got.failing, 1e-6)
	}
}

// The decoder takes any bytes, and finds in the answer of any server, with fields
// that it does not know, the status.
func FuzzParseHealthResponse(f *testing.F) {
	for _, frame := range []string{
		"", "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x02\x08\x01", "\x01\x00\x00\x00\x02\x08\x01", "\x00\xff\xff\xff\xff\x08\x01",
		"\x00\x00\x00\x00\x0b\x12\x02hi\x1d\x00\x00\x00\x00\x08\x02", "\x00\x00\x00\x00\x03\x12\x05h", "\x00\x00\x00\x00\x0c\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
	} {
		f.Add([]byte(frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		status, err := parseHealthResponse(frame)
		if err != nil {
			require.ErrorIs(t, err, errBadAnswer)
			return
		}
		// One field more, of length 0, changes nothing but the length.
		longer := append([]byte(nil), frame...)
		longer = append(longer, 0x7a, 0)
		n := uint32(len(longer) - 5)
		longer[1], longer[2], longer[3], longer[4] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		again, err := parseHealthResponse(longer)
		require.NoError(t, err)
		require.Equal(t, status, again)
	})
}

// A slow start changes the state some twenty times, however many hosts are in one
// and whenever each began.
func TestSlowStartsChangeTheStateTogether(t *testing.T) {
	now := time.Unix(1e9, 0)
	b, err := New(Config{Policy: RoundRobin{}, Now: func() time.Time { return now }}, Backend{Name: "first"})
	require.NoError(t, err)
	for i := range 500 {
		now = now.Add(7 * time.Millisecond)
		require.NoError(t, b.Add(Backend{Name: strconv.Itoa(i)}))
	}
	before := b.version
	for range 15_000 {
		now = now.Add(time.Millisecond)
		_, err := b.Pick(Request{})
		require.NoError(t, err)
	}
	require.LessOrEqual(t, b.version-before, uint64(28), "13.5 s in steps of half a second")
	require.Equal(t, never, b.current.Load().until, "all are warm")
	require.True(t, b.current.Load().light)
}

// A pair is two different choices, the second any of the others alike.
func TestPairsAreEven(t *testing.T) {
	hosts := make([]*host, 5)
	choices := newChoices(hosts, []float64{1000, 1, 1, 1, 1})
	random := rand.New(rand.NewPCG(1, 2))
	var seconds [5]int
	for range 40_000 {
		first, second := pair(choices, random.Uint64())
		require.NotEqual(t, first, second)
		if first == 0 {
			seconds[second]++
		}
	}
	for _, n := range seconds[1:] {
		require.InDelta(t, 10_000, n, 500, "%v", seconds)
	}
	first, second := pair(newChoices(hosts[:1], []float64{1}), 7)
	require.Equal(t, [2]int{0, 0}, [2]int{first, second}, "there is but one")
}

// Of SRV records, one with the target "." says that there is no such service, and
// one that stands twice has the same weight in whatever order they come.
func TestSRVRecords(t *testing.T) {
	require.Empty(t, DNS{}.fromSRV([]*net.SRV{{Target: ".", Port: 80}}))
	require.Empty(t, DNS{}.fromSRV(nil))
	light, heavy := &net.SRV{Target: "a.", Port: 80, Weight: 1}, &net.SRV{Target: "a.", Port: 80, Weight: 7}
	want := []Backend{{Name: "a:80", Weight: 7}}
	require.Equal(t, want, DNS{}.fromSRV([]*net.SRV{light, heavy}))
	require.Equal(t, want, DNS{}.fromSRV([]*net.SRV{heavy, light}))
}

// Shares are told apart in a fleet of any size.
func TestSharesOfALargeFleet(t *testing.T) {
	for _, n := range []int{1000, 60_000, MaxBackends} {
		weights, cold := make([]float64, n), make([]float64, n)
		for i := range n {
			weights[i], cold[i] = float64(1+i%2), 1
		}
		cold[0] = 0.1
		slots := slotsOf(weights)
		require.Equal(t, 2*slots[0], slots[1], "%d backends", n)
		slots = slotsOf(cold)
		require.LessOrEqual(t, 7*slots[0], slots[1], "%d backends", n)
	}
}
