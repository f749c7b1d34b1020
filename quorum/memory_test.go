package quorum_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
)

func TestMemoryKeepsTheNewestWhateverTheOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	m := quorum.NewMemory()
	newest := map[string]quorum.Version{}
	for range 5000 {
		key := fmt.Sprint(random.IntN(300))
		v := quorum.Version{Time: random.Int64N(50) + 1, Node: "n"}
		if v.Compare(newest[key]) > 0 {
			newest[key] = v
		}
		held, err := m.Put(key, quorum.Record{Version: v, Value: []byte(v.String())})
		require.NoError(t, err)
		require.Equal(t, newest[key], held)
	}
	require.Equal(t, len(newest), m.Len())
	scanned := map[string]bool{}
	for e, err := range m.Scan("") {
		require.NoError(t, err)
		require.False(t, scanned[e.Key], "once")
		scanned[e.Key] = true
		require.Equal(t, newest[e.Key], e.Record.Version)
		require.Equal(t, e.Record.Version.String(), string(e.Record.Value))
	}
	require.Len(t, scanned, len(newest))
}

func TestMemoryScansOnWhereItStopped(t *testing.T) {
	m := quorum.NewMemory()
	for i := range 200 {
		_, _ = m.Put(key(i), quorum.Record{Version: quorum.Version{Time: 1}})
	}
	seen, after := 0, ""
	for last := ""; seen < 200; {
		for e := range m.Scan(after) {
			require.NotEqual(t, last, e.Key)
			last, after = e.Key, e.Key
			seen++
			if seen == 100 {
				_, _ = m.Put("new", quorum.Record{Version: quorum.Version{Time: 1}})
			}
			break
		}
	}
	rest := 0
	for range m.Scan(after) {
		rest++
	}
	require.Equal(t, 1, rest, "what was put meanwhile comes after")
}

func TestMemoryKeepsItsOwnCopyOfTheState(t *testing.T) {
	m := quorum.NewMemory()
	state, err := m.LoadState()
	require.NoError(t, err)
	require.Nil(t, state)
	mine := []byte("state")
	require.NoError(t, m.SaveState(mine))
	mine[0] = 'X'
	state, _ = m.LoadState()
	require.Equal(t, "state", string(state))
}
