package quorum_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/transport"
)

// skewed is a cluster whose nodes' clocks are wrong by what wrong says.
func skewed(t *testing.T) (c *cluster, wrong map[string]*atomic.Int64) {
	c = newCluster(t, quorum.Config{}, abc...)
	wrong = map[string]*atomic.Int64{}
	for _, name := range abc {
		wrong[name] = &atomic.Int64{}
		c.config.Now = func() time.Time { return time.Now().Add(time.Duration(wrong[name].Load())) }
		c.start(name)
	}
	return c.startAll(), wrong
}

func (c *cluster) allReady() {
	for _, s := range c.stores {
		require.NoError(c.t, s.Ready(c.t.Context()))
	}
}

func TestOverlapAndStillStaleUnderSkewedClocks(t *testing.T) {
	c, wrong := skewed(t)
	c.allReady()
	wrong["a"].Store(int64(5 * time.Second))
	wrong["b"].Store(-int64(time.Hour))
	for i := range 20 {
		for _, node := range abc {
			value := fmt.Sprint(node, i)
			c.put(node, "k", value)
			for _, reader := range abc {
				require.Equal(t, value, c.get(reader, "k"), "the clock of %s must not decide", node)
			}
		}
	}
}

func TestAClockFarAheadIsRefused(t *testing.T) {
	c, wrong := skewed(t)
	c.allReady()
	wrong["a"].Store(int64(time.Hour))
	_, err := c.stores["a"].Put(t.Context(), "k", nil, quorum.Version{})
	var skew *quorum.SkewError
	require.ErrorAs(t, err, &skew)
	require.ErrorIs(t, err, quorum.ErrSkew)
	require.Equal(t, "a", skew.Version.Node)
	require.Equal(t, quorum.DefaultMaxSkew, skew.Bound)
	require.InDelta(t, time.Hour, skew.Ahead, float64(time.Minute))

	v := c.put("b", "other", "x")
	require.Less(t, v.Time, time.Now().Add(time.Minute).UnixNano(), "the others are not drawn along")
	wrong["a"].Store(0)
	c.put("a", "k", "the clock was set right")
	require.Equal(t, "the clock was set right", c.get("b", "k"))
}

func TestAVersionOfTheCallerFarInTheFutureIsRefusedBeforeItIsSent(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...).startAll(abc...)
	future := quorum.Version{Time: time.Now().Add(time.Hour).UnixNano(), Node: "x"}
	_, err := c.stores["a"].Put(t.Context(), "k", nil, future)
	require.ErrorIs(t, err, quorum.ErrSkew)
	require.NotErrorIs(t, err, quorum.ErrQuorum)
	require.ErrorContains(t, err, future.String())
	require.Equal(t, "(none)", c.get("b", "k"))
}

func TestAWriteIsNewerThanWhatItsWriterHadRead(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...).startAll(abc...)
	read := quorum.Version{Time: time.Now().Add(5 * time.Second).UnixNano(), Node: "elsewhere"}
	v, err := c.stores["a"].Put(t.Context(), "k", []byte("x"), read)
	require.NoError(t, err)
	require.Positive(t, v.Compare(read))
}

func TestAClockThatIsSetBackDoesNotStopWrites(t *testing.T) {
	c, wrong := skewed(t)
	for _, name := range abc {
		wrong[name].Store(int64(24 * time.Hour))
	}
	c.allReady()
	before := c.put("a", "k", "tomorrow")
	for _, name := range abc {
		wrong[name].Store(0)
	}
	require.Positive(t, c.put("a", "k", "today").Compare(before))
	require.Equal(t, "today", c.get("b", "k"))
	require.Less(t, c.put("a", "other", "x").Time, before.Time, "other keys come back to the present")
}

func TestBuffersAreNotShared(t *testing.T) {
	slow := newGate("k")
	c := newCluster(t, quorum.Config{}, abc...)
	c.storages["a"] = slow
	c.startAll(abc...)
	release := slow.hold("Put")
	value := []byte("value")
	_, err := c.stores["a"].Put(t.Context(), "k", value, quorum.Version{})
	require.NoError(t, err)
	copy(value, "XXXXX") // b and c have it; a takes it only now
	release()
	eventually(t, "a has what was written", func() bool { return holds(c, "a", "value") })

	for range 10 {
		for _, node := range abc {
			v, err := c.stores[node].Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "value", string(v.Siblings[0]))
			copy(v.Siblings[0], "YYYYY")
		}
	}
}

func TestTheValueReadIsNotSharedWithItsRepair(t *testing.T) {
	c, slow := oneBehind(t, "value")
	release := slow.hold("Get")
	v, err := c.stores["b"].Get(t.Context(), "k")
	require.NoError(t, err)
	<-slow.arrived
	copy(v.Siblings[0], "YYYYY")
	release()
	eventually(t, "c is repaired", func() bool { return holds(c, "c", "value") })
}

func TestAPageEndsAlsoWhereNothingIsOwned(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	c := newCluster(t, quorum.Config{}, names...).startAll(names...)
	planted := 0
	var last string
	for i := 0; planted < 10_000; i++ {
		owners := c.ring.Owners(nil, key(i), 3)
		if bytes.Contains(fmt.Append(nil, owners), []byte("d")) {
			last = key(i)
			continue
		}
		plant(t, c, "a", key(i), "not of d")
		planted++
	}
	plant(t, c, "a", last, "of d")
	c.lose("d")
	c.startAll("d")
	require.Equal(t, 1, c.storages["d"].(*quorum.Memory).Len())
}

func TestAPageIsOnlyForALifeThatWasMet(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...).startAll(abc...)
	request := make([]byte, 11)
	request[0], request[1], request[2] = 1, opCopy, 77
	response, err := c.transports["a"].Call(t.Context(), "b", quorum.DefaultService, request)
	require.NoError(t, err)
	require.Len(t, response, 2, "a refusal, not a page")
	response, err = c.transports["a"].Call(t.Context(), "b", quorum.DefaultService, []byte{9, 9, 9})
	require.ErrorAs(t, err, new(*transport.RemoteError))
	require.ErrorContains(t, err, "corrupt")
	require.Empty(t, response)
}
