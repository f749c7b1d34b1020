package shared

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/ratelimit"
	"github.com/parley-go/parley/ring"
)

// testLedger has 10 tokens a second, a burst of 20 and leases of 800 ms, which are
// held for 900.
func testLedger() *ledger {
	return newLedger(&Config{Limit: ratelimit.Per(10, time.Second), Burst: 20, Lease: 800 * time.Millisecond, MaxKeys: 3})
}

const (
	second = time.Second
	ms     = time.Millisecond
)

// long is a time at which every bucket is full.
const long = time.Hour

func wants(number uint64, n int64) *request {
	return &request{life: 1, number: number, key: "k", need: n, wanted: n}
}

func TestANewOwnerGrantsNothingBeforeOtherLeasesHaveEnded(t *testing.T) {
	l := testLedger()
	r := l.exchange(100*ms, 900*ms, "a", wants(1, 1), 1)
	require.Equal(t, response{status: statusWarming, retry: 800 * ms}, r)
	r = l.exchange(900*ms, 900*ms, "a", wants(2, 1), 1)
	require.Equal(t, response{status: statusGranted, retry: 100 * ms, lease: 800 * ms}, r, "and begins with an empty bucket")
	r = l.exchange(1400*ms, 900*ms, "a", wants(3, 5), 1)
	require.EqualValues(t, 5, r.granted)
}

func TestATokenOnLeaseKeepsItsPlaceInTheBucket(t *testing.T) {
	l := testLedger()
	require.EqualValues(t, 20, l.exchange(long, 0, "a", wants(1, 20), 1).granted)
	// All 20 may still be unused, so nothing comes back, however long ago it was.
	r := l.exchange(long+800*ms, 0, "b", wants(1, 1), 1)
	require.Zero(t, r.granted)
	// The report that 5 are left says that 15 were used: the bucket fills from now.
	q := &request{life: 1, number: 2, key: "k", held: 5}
	require.EqualValues(t, 5, l.exchange(long+800*ms, 0, "a", q, 1).kept)
	require.Zero(t, l.exchange(long+800*ms, 0, "b", wants(2, 1), 1).granted)
	require.EqualValues(t, 1, l.exchange(long+900*ms, 0, "b", wants(3, 1), 1).granted)
}

func TestALeaseThatEndedCountsAsUsed(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(1, 20), 1)
	r := l.exchange(long+900*ms, 0, "b", wants(1, 20), 1)
	require.Zero(t, r.granted, "from now on the bucket fills, from 0")
	require.Equal(t, 2*second, r.retry)
	// What is given back after its end is not taken; what is kept, neither.
	r = l.exchange(long+1000*ms, 0, "a", &request{life: 1, number: 2, key: "k", held: 10, returned: 10, wanted: 1, need: 1}, 1)
	require.Zero(t, r.kept)
	require.EqualValues(t, 1, r.granted)
	require.Zero(t, r.left)
}

func TestARefundIsNeverMoreThanTheLease(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(1, 4), 1)
	l.exchange(long, 0, "b", wants(1, 16), 1)
	r := l.exchange(long, 0, "a", &request{life: 1, number: 2, key: "k", held: 3, returned: math.MaxInt32}, 1)
	require.EqualValues(t, 3, r.kept)
	require.EqualValues(t, 1, r.left)
	require.EqualValues(t, 0, l.exchange(long, 0, "c", &request{life: 1, number: 1, key: "k", held: 3, returned: 3}, 1).kept, "c has none")
	require.EqualValues(t, 1, l.keys["k"].tokens)
}

func TestRequestsOutOfOrderAdmitNothing(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(7, 10), 1)
	late := &request{life: 1, number: 6, key: "k", returned: 5}
	require.Equal(t, statusStale, l.exchange(long, 0, "a", late, 1).status)
	require.Equal(t, statusStale, l.exchange(long, 0, "a", wants(7, 10), 1).status, "the same again")
	require.EqualValues(t, 10, l.keys["k"].tokens)
	require.EqualValues(t, 10, l.keys["k"].out)
}

func TestARestartedLesseeHasALeaseOfItsOwn(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(5, 15), 1)
	q := wants(1, 10)
	q.life = 2
	r := l.exchange(long, 0, "a", q, 1)
	require.Equal(t, statusGranted, r.status)
	require.Zero(t, r.granted, "only 5 are left, until the lease of the former life has ended")
	require.EqualValues(t, 5, r.left)
}

func TestNobodyIsBlockedByTokensTooFewToUse(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(1, 18), 1)
	r := l.exchange(long, 0, "b", wants(1, 3), 1)
	require.Zero(t, r.granted, "2 are of no use to b")
	require.EqualValues(t, 2, l.exchange(long, 0, "c", wants(1, 2), 1).granted)
	q := wants(2, 5)
	q.need = 1
	require.Zero(t, l.exchange(long, 0, "b", q, 1).granted)
}

func TestABatchIsAFairPart(t *testing.T) {
	l := testLedger()
	q := wants(1, 2)
	q.batch = 100
	require.EqualValues(t, 2+18/3, l.exchange(long, 0, "a", q, 3).granted)
	q = wants(1, 0)
	q.batch = 3
	require.EqualValues(t, 3, l.exchange(long, 0, "b", q, 3).granted)
}

func TestAnOwnerThatLostAKeyAndGotItBackKnowsNothing(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(1, 5), 1)
	safe := long + second
	r := l.exchange(safe+100*ms, safe, "a", wants(2, 2), 1)
	require.Zero(t, r.granted, "15 were left, but another owner may have granted all")
	require.EqualValues(t, 1, r.left)
}

func TestEvictingNeverForgives(t *testing.T) {
	l := testLedger() // room for 3
	key := func(i int) *request {
		return &request{life: 1, number: uint64(i), key: fmt.Sprint(i), need: 20, wanted: 20}
	}
	for i := 1; i <= 3; i++ {
		require.EqualValues(t, 20, l.exchange(long, 0, "a", key(i), 1).granted)
	}
	now := long + 900*ms // the leases have ended, the buckets begin to fill
	require.Equal(t, statusFull, l.exchange(now, 0, "a", key(4), 1).status)
	for i := 1; i <= 3; i++ {
		q := key(i)
		q.number += 10
		require.Zero(t, l.exchange(now, 0, "a", q, 1).granted, "key %d was limited and still is", i)
	}
	now += 2 * second // now they are full
	require.EqualValues(t, 20, l.exchange(now, 0, "a", key(5), 1).granted)
	require.LessOrEqual(t, len(l.keys), 2, "the others go in passing")
}

func TestTheClockOfALedgerNeverGoesBack(t *testing.T) {
	l := testLedger()
	l.exchange(long, 0, "a", wants(1, 20), 1)
	l.exchange(long, 0, "a", &request{life: 1, number: 2, key: "k"}, 1)
	require.EqualValues(t, 5, l.exchange(long+500*ms, 0, "a", wants(3, 5), 1).granted)
	l.exchange(long+500*ms, 0, "a", &request{life: 1, number: 4, key: "k"}, 1)
	require.Zero(t, l.exchange(long, 0, "a", wants(5, 1), 1).granted)
	require.Zero(t, l.exchange(long+500*ms, 0, "a", wants(6, 1), 1).granted)
}

// A bucket is exact at every rate, however often it is looked at.
func TestBucketsLoseNothing(t *testing.T) {
	for _, test := range []struct {
		limit ratelimit.Limit
		step  time.Duration
		in    time.Duration
		want  int64
	}{
		{ratelimit.Per(1, time.Second), 7 * ms, 70 * second, 70},
		{ratelimit.Per(7, time.Second), time.Millisecond, 3 * second, 21},
		{ratelimit.Per(7_000_000, time.Second), 97, 97 * ms, 679_000},
		{ratelimit.Per(1_000_000_000, time.Second), 1, 1000, 1000},
		{ratelimit.Per(1000, time.Nanosecond), 3, 3000, 3_000_000},
		{ratelimit.Per(1, 365*24*time.Hour), 24 * time.Hour, 730 * 24 * time.Hour, 2},
	} {
		b, r := bucket{}, rateOf(test.limit, 1)
		for now := time.Duration(0); now <= test.in; now += test.step {
			b.fill(now, r, math.MaxInt32)
		}
		require.Equal(t, test.want, b.tokens, "%v, looked at every %v", test.limit, test.step)
	}
}

func TestBucketWait(t *testing.T) {
	r := rateOf(ratelimit.Per(3, time.Second), 1)
	b := bucket{}
	require.Equal(t, 333_333_334*time.Nanosecond, b.wait(1, r))
	b.fill(100*ms, r, 10)
	require.Equal(t, 233_333_334*time.Nanosecond, b.wait(1, r))
	b.fill(2*second, r, 5)
	require.Zero(t, b.wait(5, r))
	require.Equal(t, time.Duration(math.MaxInt64), rateOf(ratelimit.Per(1, 365*24*time.Hour), 1<<20).takes(math.MaxInt32, 0))
}

func testTenure(t *testing.T, names ...string) (*tenure, *ring.Ring) {
	t.Helper()
	r, err := ring.New(ring.Config{})
	require.NoError(t, err)
	for _, name := range names {
		require.NoError(t, r.Add(ring.Node{Name: name}))
	}
	c := &Config{Limit: ratelimit.Per(10, time.Second), Burst: 20, Lease: 800 * ms}
	return newTenure("a", c, r.Snapshot()), r
}

// keyOf returns a key that a owns alone with b gone, and b otherwise.
func keyOf(t *testing.T, r *ring.Ring, owner string) string {
	t.Helper()
	for i := range 1000 {
		if name, _ := r.Owner(fmt.Sprint(i)); name == owner {
			return fmt.Sprint(i)
		}
	}
	t.Fatal("no key of " + owner)
	return ""
}

func TestOnlyKeysThatMovedWait(t *testing.T) {
	tenure, r := testTenure(t, "a", "b")
	mine, moved := keyOf(t, r, "a"), keyOf(t, r, "b")
	require.Equal(t, 900*ms, tenure.safe(mine), "after a start all wait")
	r.Remove("b")
	tenure.observe(10*second, r.Snapshot())
	require.Equal(t, 900*ms, tenure.safe(mine))
	require.Equal(t, 10*second+900*ms, tenure.safe(moved))
	tenure.observe(11*second, r.Snapshot())
	require.Equal(t, 10*second+900*ms, tenure.safe(moved), "nothing has changed since")

	// Gone for a moment and back: it may have been granted elsewhere.
	require.NoError(t, r.Add(ring.Node{Name: "b"}))
	tenure.observe(20*second, r.Snapshot())
	r.Remove("b")
	tenure.observe(21*second, r.Snapshot())
	require.Equal(t, 21*second+900*ms, tenure.safe(moved))
}

// Trap: a process that had stopped sees the ring as it was before, and a key of its
// own that was another's meanwhile.
func TestAnOwnerThatSleptThroughTwoMovesWaits(t *testing.T) {
	for _, test := range []struct {
		asleep time.Duration
		safe   time.Duration
	}{
		{799 * ms, 900 * ms}, // the other one had to wait for longer than that
		{800 * ms, 10*second + 800*ms + 900*ms},
	} {
		tenure, r := testTenure(t, "a", "b")
		mine := keyOf(t, r, "a")
		tenure.observe(10*second, r.Snapshot())
		r.Remove("a")
		require.NoError(t, r.Add(ring.Node{Name: "a"}))
		now := 10*second + test.asleep
		tenure.observe(now, r.Snapshot())
		require.Equal(t, test.safe, tenure.safe(mine), "asleep for %v", test.asleep)
	}
	// One change that came unseen is no more than that.
	tenure, r := testTenure(t, "a", "b")
	mine := keyOf(t, r, "a")
	require.NoError(t, r.Add(ring.Node{Name: "c"}))
	r.Remove("b")
	tenure.observe(700*ms, r.Snapshot())
	require.NoError(t, r.Add(ring.Node{Name: "b"}))
	tenure.observe(10*second, r.Snapshot())
	require.Equal(t, 900*ms, tenure.safe(mine))
}

func TestTenureRemembersABoundedPast(t *testing.T) {
	tenure, r := testTenure(t, "a", "b")
	mine := keyOf(t, r, "a")
	now := 10 * second
	for i := range 100 {
		now += 10 * second // longer than it takes a bucket to fill
		require.NoError(t, r.Add(ring.Node{Name: fmt.Sprint("n", i)}))
		tenure.observe(now, r.Snapshot())
		require.LessOrEqual(t, len(tenure.states), 2)
	}
	for i := range 100 {
		now += ms
		r.Remove(fmt.Sprint("n", i))
		tenure.observe(now, r.Snapshot())
		require.LessOrEqual(t, len(tenure.states), maxStates)
	}
	require.Greater(t, tenure.safe(mine), now, "too many changes to tell: all keys wait")
}
