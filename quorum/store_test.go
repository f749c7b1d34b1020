package quorum_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
)

func TestReadsSeeWritesOfAnyCoordinator(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	c := newCluster(t, quorum.Config{}, names...).startAll(names...)
	c.start("client") // not a member
	names = append(names, "client")
	for i := range 100 {
		c.put(names[i%6], key(i), "first")
		c.put(names[(i+1)%6], key(i), "second")
		for _, node := range names {
			require.Equal(t, "second", c.get(node, key(i)))
		}
	}
}
