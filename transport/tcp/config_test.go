package tcp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/tcp"
)

func TestConfigErrorsNameFieldValueAndBound(t *testing.T) {
	pool := x509.NewCertPool()
	for want, config := range map[string]tcp.Config{
		"either TLS or Plaintext":                       {},
		"Config.TLS has no certificate":                 {TLS: &tls.Config{RootCAs: pool}},
		"Config.TLS.RootCAs is nil":                     {TLS: &tls.Config{Certificates: make([]tls.Certificate, 1)}},
		"MaxMessage is 10, must be from 1024":           {Plaintext: true, MaxMessage: 10},
		"MaxMessage is -1":                              {Plaintext: true, MaxMessage: -1},
		"MaxQueue is 2000, must be from 66560":          {Plaintext: true, MaxMessage: 1024, MaxQueue: 2000},
		"MaxCalls is 65537, must be from 1 to 65536":    {Plaintext: true, MaxCalls: 65537},
		"ReadBuffer is 1, must be from 16384":           {Plaintext: true, ReadBuffer: 1},
		"MaxPeers is -5":                                {Plaintext: true, MaxPeers: -5},
		"MaxHandshakes is -5":                           {Plaintext: true, MaxHandshakes: -5},
		"DialTimeout is 1ns, must be from 1ms to 10m0s": {Plaintext: true, DialTimeout: 1},
		"HandshakeTimeout is 1ns":                       {Plaintext: true, HandshakeTimeout: 1},
		"KeepAlive is 2h0m0s":                           {Plaintext: true, KeepAlive: 2 * time.Hour},
		"StallTimeout is 2h0m0s":                        {Plaintext: true, StallTimeout: 2 * time.Hour},
		"MinBackoff is 1ns":                             {Plaintext: true, MinBackoff: 1},
		"MaxBackoff is 1s, must be from 1m0s":           {Plaintext: true, MinBackoff: time.Minute, MaxBackoff: time.Second},
	} {
		_, err := tcp.Listen("a", "127.0.0.1:0", config)
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), "tcp: "), err)
	}
	_, err := tcp.Listen("", "127.0.0.1:0", tcp.Config{Plaintext: true})
	require.ErrorIs(t, err, transport.ErrInvalidName)
	_, err = tcp.Listen("a", "no address", tcp.Config{Plaintext: true})
	require.Error(t, err)
}

// Both TLS and Plaintext is as unclear as neither.
func TestPlaintextMustBeAskedForAlone(t *testing.T) {
	authority, err := tcp.NewAuthority()
	require.NoError(t, err)
	_, err = tcp.Listen("a", "127.0.0.1:0", tcp.Config{Plaintext: true, TLS: tlsOf(t, authority, "a")})
	require.ErrorContains(t, err, "either TLS or Plaintext")
}

// The smaller limit of two nodes counts for both.
func TestSmallerLimitCounts(t *testing.T) {
	c := newCluster(t, modes[0])
	a, b := c.join("a", tcp.Config{MaxCalls: 1}), c.join("b", tcp.Config{MaxMessage: 2000})
	release := make(chan struct{})
	for _, node := range []*tcp.Transport{a, b} {
		node.Serve("grow", func(context.Context, string, []byte) ([]byte, error) { return make([]byte, 2001), nil })
		node.Serve("hang", func(context.Context, string, []byte) ([]byte, error) { <-release; return nil, nil })
	}
	_, err := a.Call(t.Context(), "b", "grow", make([]byte, 2001))
	require.ErrorIs(t, err, transport.ErrTooLarge)
	_, err = b.Call(t.Context(), "a", "grow", nil)
	require.ErrorIs(t, err, transport.ErrTooLarge, "the response")
	result := make(chan error, 1)
	go func() {
		_, err := b.Call(t.Context(), "a", "hang", nil)
		result <- err
	}()
	eventually(t, "the call is in flight", func() bool { return peerStats(b, "a").CallsInFlight == 1 })
	_, err = b.Call(t.Context(), "a", "hang", nil)
	require.ErrorIs(t, err, transport.ErrOverflow)
	close(release)
	require.NoError(t, <-result)
	_, err = b.Call(t.Context(), "a", "hang", nil)
	require.NoError(t, err, "a slot is free again")
}
