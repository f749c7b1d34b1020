package tcp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"
)

// nameScheme is the scheme of the URI in a certificate that carries a node name
// that need not be a DNS name: parley:NAME, path-escaped.
const nameScheme = "parley"

func nameURI(name string) *url.URL {
	return &url.URL{Scheme: nameScheme, Opaque: url.PathEscape(name)}
}

// carriesName reports whether a certificate names this node: as a DNS name, to
// the letter and without wildcards, or as a URI.
func carriesName(c *x509.Certificate, name string) bool {
	want := nameURI(name).String()
	return slices.Contains(c.DNSNames, name) ||
		slices.ContainsFunc(c.URIs, func(u *url.URL) bool { return u.String() == want })
}

// A security makes authenticated connections. nil makes plain ones.
type security struct {
	client, server *tls.Config
}

// newSecurity returns the two hardened configurations that come of one of the
// user's. Nothing in the user's can soften them.
func newSecurity(user *tls.Config) (*security, error) {
	if user == nil {
		return nil, nil
	}
	if len(user.Certificates) == 0 && (user.GetCertificate == nil || user.GetClientCertificate == nil) {
		return nil, errors.New("tcp: Config.TLS has no certificate: Certificates is empty, and GetCertificate or GetClientCertificate is nil")
	}
	if (user.GetCertificate == nil) != (user.GetClientCertificate == nil) {
		return nil, errors.New("tcp: Config.TLS has only one of GetCertificate and GetClientCertificate: the other side's certificate would never be rotated")
	}
	if user.RootCAs == nil && user.ClientCAs == nil {
		return nil, errors.New("tcp: Config.TLS.RootCAs is nil: peers must be signed by an authority of the cluster, not of the system")
	}
	return &security{client: hardenClient(user), server: hardenServer(user)}, nil
}

func harden(user *tls.Config) *tls.Config {
	c := user.Clone()
	c.MinVersion = tls.VersionTLS13
	c.MaxVersion = 0
	c.NextProtos = nil
	// Records of full size: what is small is gathered before it gets here.
	c.DynamicRecordSizingDisabled = true
	// A resumed session would outlive a revoked certificate.
	c.SessionTicketsDisabled = true
	c.ClientSessionCache = nil
	c.EncryptedClientHelloConfigList = nil
	return c
}

func hardenClient(user *tls.Config) *tls.Config {
	c := harden(user)
	roots := user.RootCAs
	if roots == nil {
		roots = user.ClientCAs
	}
	// Node names need not be host names, so the chain is verified here and not
	// by the name that the standard check demands. The node's name is checked
	// with the hello.
	c.InsecureSkipVerify = true
	next, clock := user.VerifyConnection, user.Time
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if err := verifyChain(s, roots, clock, x509.ExtKeyUsageServerAuth); err != nil {
			return err
		}
		if next != nil {
			return next(s)
		}
		return nil
	}
	return c
}

func hardenServer(user *tls.Config) *tls.Config {
	c := harden(user)
	c.ClientAuth = tls.RequireAndVerifyClientCert
	if c.ClientCAs == nil {
		c.ClientCAs = user.RootCAs
	}
	if pick := user.GetConfigForClient; pick != nil {
		c.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			picked, err := pick(h)
			if picked == nil || err != nil {
				return nil, err
			}
			hard := hardenServer(picked)
			hard.GetConfigForClient = nil
			if hard.ClientCAs == nil {
				hard.ClientCAs = c.ClientCAs
			}
			return hard, nil
		}
	}
	return c
}

func verifyChain(s tls.ConnectionState, roots *x509.CertPool, clock func() time.Time, usage x509.ExtKeyUsage) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("peer has no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	var now time.Time // zero: the system's
	if clock != nil {
		now = clock()
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	return err
}

// A link is a TCP connection during and after its handshake.
type link struct {
	raw  net.Conn
	tls  *tls.Conn   // nil without TLS
	cork *corkedConn // under tls
	leaf *x509.Certificate
}

// secure runs the TLS handshake on raw.
func (s *security) secure(ctx context.Context, raw net.Conn, dialled bool) (*link, error) {
	if s == nil {
		return &link{raw: raw}, nil
	}
	cork := &corkedConn{Conn: raw}
	conn := tls.Server
	config := s.server
	if dialled {
		conn, config = tls.Client, s.client
	}
	l := &link{raw: raw, cork: cork, tls: conn(cork, config)}
	if err := l.tls.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	l.leaf = l.tls.ConnectionState().PeerCertificates[0]
	return l, nil
}

// stream returns what to read frames from and, until the handshake is over, to
// write to.
func (l *link) stream() net.Conn {
	if l.tls != nil {
		return l.tls
	}
	return l.raw
}

// vouches returns nil if the other side may call itself name.
func (l *link) vouches(name string) error {
	if l.tls != nil && !carriesName(l.leaf, name) {
		return fmt.Errorf("the certificate of %s does not carry the node name %q", l.leaf.Subject, name)
	}
	return nil
}

// maxRecords is the largest buffer of records that a connection keeps.
const maxRecords = 2 * maxBlocks * blockSize

// A corkedConn gathers the records that a tls.Conn writes one by one, so that
// they go out in one system call.
type corkedConn struct {
	net.Conn

	mu      sync.Mutex // held while writing: records go out in order
	corked  bool
	records bytes.Buffer
}

// Write writes p, or gathers it while corked.
func (c *corkedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.corked {
		return c.records.Write(p)
	}
	return c.Conn.Write(p)
}

func (c *corkedConn) setCorked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
}

// uncork writes what was gathered.
func (c *corkedConn) uncork() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = false
	_, err := c.records.WriteTo(c.Conn)
	if c.records.Cap() > maxRecords {
		c.records = bytes.Buffer{}
	}
	return err
}
