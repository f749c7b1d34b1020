package quorum_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// These tests restart a cluster with another placement of keys. A node then may
// own what it does not have, and must not count for reads of it.

func TestNewOwnersDoNotVouchForWhatOldOnesHold(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{Timeout: 200 * time.Millisecond}, abc...)
	var nodes []ring.Node
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		nodes = append(nodes, ring.Node{Name: name})
	}
	larger, err := ring.New(ring.Config{}, nodes...)
	require.NoError(t, err)
	var k string
	for i := range 10_000 {
		if slices.Equal(slices.Sorted(slices.Values(larger.Owners(nil, key(i), 3))), []string{"a", "d", "e"}) {
			k = key(i)
			break
		}
	}
	require.NotEmpty(t, k)
	cut["b"].set([]string{"a"}, nil)
	c.put("b", k, "acknowledged") // by b and c alone
	for _, name := range abc {
		c.stop(name)
	}
	c.ring = larger
	for _, name := range []string{"a", "d", "e"} { // the owners now; those of then are late
		c.start(name)
	}
	eventually(t, "the new owners have copied one another", func() bool {
		for _, name := range []string{"a", "d", "e"} {
			met := 0
			for _, p := range c.stores[name].Status().Peers {
				if p.Met {
					met++
				}
			}
			if met < 2 {
				return false
			}
		}
		return true
	})
	_, err = c.stores["a"].Get(t.Context(), k)
	require.ErrorIs(t, err, quorum.ErrRecovering)
	c.start("b")
	c.start("c")
	for _, name := range []string{"a", "d", "e"} {
		require.NoError(t, c.stores[name].Ready(t.Context()))
	}
	require.Equal(t, "acknowledged", c.get("a", k))
}

func TestANodeThatMissedWritesIsNotEnoughAfterRIsLowered(t *testing.T) {
	c, cut := cutCluster(t, quorum.Config{Timeout: 200 * time.Millisecond}, abc...)
	cut["a"].set([]string{"c"}, nil)
	c.put("a", "k", "v") // by a and b, which is W
	for _, name := range abc {
		c.stop(name)
	}
	c.config.W, c.config.R = 3, 1
	c.wrap = func(tr transport.Transport) transport.Transport {
		cut[tr.Local()] = &cutter{Transport: tr}
		if tr.Local() == "c" {
			cut["c"].set([]string{"a", "b"}, nil)
		}
		return cut[tr.Local()]
	}
	for _, name := range abc {
		c.start(name)
	}
	_, err := c.stores["c"].Get(t.Context(), "k", quorum.Read{DisableWriteBack: true})
	require.ErrorIs(t, err, quorum.ErrRecovering, "c alone must not say that there is nothing")
	cut["c"].set(nil, nil)
	require.NoError(t, c.stores["c"].Ready(t.Context()))
	require.Equal(t, "v", c.get("c", "k"))
}
