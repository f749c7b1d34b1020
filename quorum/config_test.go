package quorum_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
)

func TestAWrongConfigIsNamed(t *testing.T) {
	c := newCluster(t, quorum.Config{}, "a", "b", "c")
	tr, err := c.network.Join("a")
	require.NoError(t, err)
	defer func() { require.NoError(t, tr.Close()) }()
	good := quorum.Config{Transport: tr, Ring: c.ring, Storage: quorum.NewMemory()}
	two, err := ring.New(ring.Config{}, ring.Node{Name: "a"}, ring.Node{Name: "b"})
	require.NoError(t, err)
	for _, test := range []struct {
		change func(c *quorum.Config)
		want   []string
	}{
		{func(c *quorum.Config) { c.Transport = nil }, []string{"Transport"}},
		{func(c *quorum.Config) { c.Ring = nil }, []string{"Ring"}},
		{func(c *quorum.Config) { c.Storage = nil }, []string{"Storage", "a is a member"}},
		{func(c *quorum.Config) { c.N = -1 }, []string{"N is -1", "1 to 9"}},
		{func(c *quorum.Config) { c.N = 10 }, []string{"N is 10", "1 to 9"}},
		{func(c *quorum.Config) { c.R = 4 }, []string{"R is 4", "1 to N, 3"}},
		{func(c *quorum.Config) { c.W = -2 }, []string{"W is -2"}},
		{func(c *quorum.Config) { c.R, c.W = 1, 2 }, []string{"R and W are 1 and 2", "N, 3", "DisableOverlap"}},
		{func(c *quorum.Config) { c.Ring, c.R, c.W = two, 1, 3 }, []string{"Ring has 2 members", "need 3"}},
		{func(c *quorum.Config) { c.Timeout = -1 }, []string{"Timeout is -1ns"}},
		{func(c *quorum.Config) { c.MaxSkew = -time.Second }, []string{"MaxSkew is -1s"}},
		{func(c *quorum.Config) { c.Background = -5 }, []string{"Background is -5"}},
		{func(c *quorum.Config) { c.Service = strings.Repeat("s", 256) }, []string{"Service", "256"}},
	} {
		config := good
		test.change(&config)
		_, err := quorum.Start(config)
		require.ErrorIs(t, err, quorum.ErrInvalid)
		for _, want := range test.want {
			require.ErrorContains(t, err, want)
		}
	}
	lax := good
	lax.R, lax.W, lax.DisableOverlap = 1, 1, true
	s, err := quorum.Start(lax)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func TestKeysValuesAndReadsAreBounded(t *testing.T) {
	c := newCluster(t, quorum.Config{}, abc...).startAll(abc...)
	s := c.stores["a"]
	ctx := t.Context()
	longest, largest := strings.Repeat("k", quorum.MaxKey), make([]byte, quorum.MaxValue)
	_, err := s.Put(ctx, longest, largest, quorum.Version{})
	require.NoError(t, err)
	v, err := c.stores["b"].Get(ctx, longest)
	require.NoError(t, err)
	require.Equal(t, largest, v.Siblings[0])

	for _, key := range []string{"", longest + "k"} {
		_, err = s.Put(ctx, key, nil, quorum.Version{})
		require.ErrorIs(t, err, quorum.ErrInvalid)
		require.ErrorContains(t, err, "1 to 1024 bytes")
		_, err = s.Get(ctx, key)
		require.ErrorIs(t, err, quorum.ErrInvalid)
		_, err = s.Delete(ctx, key, quorum.Version{})
		require.ErrorIs(t, err, quorum.ErrInvalid)
	}
	_, err = s.Put(ctx, "k", append(largest, 0), quorum.Version{})
	require.ErrorIs(t, err, quorum.ErrInvalid)
	require.ErrorContains(t, err, "at most 61440 bytes, this one has 61441")
	_, err = s.Get(ctx, "k", quorum.Read{R: 4})
	require.ErrorContains(t, err, "Read.R is 4")
	_, err = s.Get(ctx, "k", quorum.Read{R: -1})
	require.ErrorContains(t, err, "Read.R is -1")
	_, err = s.Get(ctx, "k", quorum.Read{}, quorum.Read{})
	require.ErrorIs(t, err, quorum.ErrInvalid)
}
