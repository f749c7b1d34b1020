package tcp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
	"github.com/parley-go/parley/transport/tcp"
)

func tlsOf(t *testing.T, authority *tcp.Authority, name string) *tls.Config {
	t.Helper()
	credentials, err := authority.Issue(name)
	require.NoError(t, err)
	config, err := credentials.TLS()
	require.NoError(t, err)
	return config
}

// A certificate that the cluster's authority signed is good for its own node
// only, both for who dials and for who is dialled.
func TestCertificateOfAnotherNode(t *testing.T) {
	inBothOrders(t, func(t *testing.T, honest, claimed string) {
		c := newCluster(t, modes[1])
		a := c.join(honest, tcp.Config{})
		a.Serve("echo", echo)
		impostor := c.join(claimed, tcp.Config{TLS: tlsOf(t, c.authority, "mallory")})
		impostor.Serve("echo", echo)

		_, err := a.Call(t.Context(), claimed, "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable)
		require.ErrorContains(t, err, "does not carry the node name")
		_, err = impostor.Call(t.Context(), honest, "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable)
		require.ErrorContains(t, err, "does not carry the node name")
		require.Zero(t, peerStats(a, claimed).Connects)
	})
}

// from is the authenticated name.
func TestAddressOfAnotherNode(t *testing.T) {
	inBothModes(t, func(t *testing.T, c *cluster) {
		a, b := c.join("a", tcp.Config{}), c.join("b", tcp.Config{})
		b.Serve("echo", echo)
		c.at("d", b.Addr().String())
		_, err := a.Call(t.Context(), "d", "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable)
		_, err = a.Call(t.Context(), "b", "echo", nil)
		require.NoError(t, err)
	})
}

func TestCertificatesThatAreRefused(t *testing.T) {
	c := newCluster(t, modes[1])
	stranger, err := tcp.NewAuthority()
	require.NoError(t, err)
	trusting := func(authority *tcp.Authority) *x509.CertPool {
		certificate, _, err := authority.PEM()
		require.NoError(t, err)
		pool := x509.NewCertPool()
		require.True(t, pool.AppendCertsFromPEM(certificate))
		return pool
	}
	foreign := tlsOf(t, stranger, "foreign") // trusts us; we do not trust it
	foreign.RootCAs, foreign.ClientCAs = trusting(c.authority), trusting(c.authority)
	wild := tlsOf(t, c.authority, "*.cluster")

	a := c.join("a", tcp.Config{})
	a.Serve("echo", echo)
	for name, config := range map[string]*tls.Config{"foreign": foreign, "node.cluster": wild} {
		node := c.join(name, tcp.Config{TLS: config})
		node.Serve("echo", echo)
		_, err := node.Call(t.Context(), "a", "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable, name)
		_, err = a.Call(t.Context(), name, "echo", nil)
		require.ErrorIs(t, err, transport.ErrUnreachable, name)
		require.Zero(t, peerStats(a, name).Connects)
	}
	plain, err := tcp.Listen("plain", "127.0.0.1:0", tcp.Config{Plaintext: true, Resolve: c.resolve})
	require.NoError(t, err)
	defer plain.Close()
	_, err = plain.Call(t.Context(), "a", "echo", nil)
	require.ErrorIs(t, err, transport.ErrUnreachable)
}

// What the user's configuration says cannot weaken the node, whoever dials.
func TestTLSIsHardened(t *testing.T) {
	c := newCluster(t, modes[1])
	weak := tlsOf(t, c.authority, "weak")
	weak.MinVersion, weak.MaxVersion = tls.VersionTLS10, tls.VersionTLS12
	weak.ClientAuth = tls.NoClientCert
	weak.InsecureSkipVerify = true
	weak.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return weak, nil }
	before := weak.Clone()
	node := c.join("weak", tcp.Config{TLS: weak})

	dial := func(config *tls.Config) error {
		config.InsecureSkipVerify = true // the name in the certificate is none of this test
		conn, err := tls.Dial("tcp", node.Addr().String(), config)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
		_, err = conn.Read(make([]byte, 1)) // the server's verdict comes with the first read
		return err
	}
	old := tlsOf(t, c.authority, "old")
	old.MinVersion, old.MaxVersion = 0, tls.VersionTLS12
	require.ErrorContains(t, dial(old), "protocol version")
	require.ErrorContains(t, dial(&tls.Config{}), "certificate required")
	var timeout interface{ Timeout() bool }
	require.ErrorAs(t, dial(tlsOf(t, c.authority, "good")), &timeout, "waits for the hello")

	require.Equal(t, before.MinVersion, weak.MinVersion, "the caller's configuration was changed")
	require.Equal(t, before.MaxVersion, weak.MaxVersion)
	require.Equal(t, before.ClientAuth, weak.ClientAuth)
	require.Nil(t, weak.VerifyConnection)
}

func TestVerifyConnectionOfTheUserIsHeard(t *testing.T) {
	c := newCluster(t, modes[1])
	picky := tlsOf(t, c.authority, "picky")
	picky.VerifyConnection = func(tls.ConnectionState) error { return errors.New("revoked") }
	node := c.join("picky", tcp.Config{TLS: picky})
	a := c.join("a", tcp.Config{})
	_, err := node.Call(t.Context(), "a", "echo", nil)
	require.ErrorContains(t, err, "revoked")
	_, err = a.Call(t.Context(), "picky", "echo", nil)
	require.ErrorIs(t, err, transport.ErrUnreachable)
}

// Any node name can be certified, not only names that DNS knows.
func TestNamesThatAreNoHostNames(t *testing.T) {
	c := newCluster(t, modes[1])
	for _, name := range []string{"127.0.0.1:7001", "two words", "ä/ö?#%", "\xff\x00", "_x-", "a..b"} {
		node := c.join(name, tcp.Config{})
		from := make(chan string, 1)
		node.Serve("who", func(_ context.Context, caller string, _ []byte) ([]byte, error) {
			from <- caller
			return nil, nil
		})
		a := c.join("caller of "+name, tcp.Config{})
		_, err := a.Call(t.Context(), name, "who", nil)
		require.NoError(t, err, "%q", name)
		require.Equal(t, a.Local(), <-from)
	}
}

// An authority can be handed to another process, and makes the same certificates
// there.
func TestAuthorityTravelsAsPEM(t *testing.T) {
	authority, err := tcp.NewAuthority()
	require.NoError(t, err)
	certificate, key, err := authority.PEM()
	require.NoError(t, err)
	again, err := tcp.ParseAuthority(certificate, key)
	require.NoError(t, err)

	c := newCluster(t, modes[1])
	c.authority = authority
	a := c.join("a", tcp.Config{})
	c.authority = again
	b := c.join("b", tcp.Config{})
	b.Serve("echo", echo)
	_, err = a.Call(t.Context(), "b", "echo", nil)
	require.NoError(t, err)

	node, err := authority.Issue("a")
	require.NoError(t, err)
	_, err = tcp.ParseAuthority(node.Certificate, node.Key)
	require.ErrorContains(t, err, "not one of an authority")
	_, err = tcp.ParseAuthority(certificate, node.Key)
	require.Error(t, err)
	_, err = authority.Issue("")
	require.ErrorIs(t, err, transport.ErrInvalidName)
	_, err = tcp.Credentials{Certificate: node.Certificate, Key: node.Key}.TLS()
	require.ErrorContains(t, err, "Authority")
}
