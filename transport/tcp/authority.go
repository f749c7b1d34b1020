package tcp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/parley-go/parley/transport"
)

// An Authority signs the certificates of a cluster's nodes. It is meant for
// tests, demonstrations and small private clusters: it keeps its key in memory
// and revokes nothing. Its methods are safe for concurrent use.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Credentials are what one node needs, each part PEM-encoded: the certificate
// of the authority, its own certificate, and its private key.
//
// The certificate carries the node's name as the URI parley:NAME and, where it
// is one, as a DNS name. A certificate from elsewhere may do either: a DNS name
// must be the node name to the letter, and wildcards do not count.
type Credentials struct {
	Authority, Certificate, Key []byte
}

const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	// clockSlack is by how much the clock of a peer may be behind.
	clockSlack = time.Hour
)

// NewAuthority makes an authority with a new key, valid for ten years.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newCertificate("parley authority", authorityLife)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.MaxPathLenZero = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate: certificate, key: key}, nil
}

// ParseAuthority returns the authority that PEM has encoded.
func ParseAuthority(certificate, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("tcp: authority: %w", err)
	}
	private, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("tcp: authority: the key is %T, not ECDSA", pair.PrivateKey)
	}
	parsed, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("tcp: authority: %w", err)
	}
	if !parsed.IsCA {
		return nil, errors.New("tcp: authority: the certificate is not one of an authority")
	}
	return &Authority{certificate: parsed, key: private}, nil
}

// PEM returns the certificate and the private key of the authority. Who has the
// key can be any node.
func (a *Authority) PEM() (certificate, key []byte, err error) {
	key, err = encodeKey(a.key)
	return encodeCertificate(a.certificate.Raw), key, err
}

// Issue makes a key and a certificate, valid for a year, for the node name.
func (a *Authority) Issue(name string) (Credentials, error) {
	if err := transport.CheckName("node", name); err != nil {
		return Credentials{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Credentials{}, err
	}
	template, err := newCertificate(name, certificateLife)
	if err != nil {
		return Credentials{}, err
	}
	template.URIs = append(template.URIs, nameURI(name))
	if isDNSName(name) {
		template.DNSNames = []string{name}
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Credentials{}, err
	}
	encoded, err := encodeKey(key)
	if err != nil {
		return Credentials{}, err
	}
	return Credentials{
		Authority:   encodeCertificate(a.certificate.Raw),
		Certificate: encodeCertificate(der),
		Key:         encoded,
	}, nil
}

// TLS returns the configuration to put into Config.TLS.
func (c Credentials) TLS() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(c.Certificate, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tcp: credentials: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.Authority) {
		return nil, errors.New("tcp: credentials: Authority holds no certificate")
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		RootCAs:      roots,
		ClientCAs:    roots,
	}, nil
}

func newCertificate(name string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		// The subject is for people; an X.509 common name has at most 64 characters.
		Subject:   pkix.Name{CommonName: strings.ToValidUTF8(name[:min(len(name), 64)], "")},
		NotBefore: now.Add(-clockSlack),
		NotAfter:  now.Add(life),
	}, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// isDNSName reports whether name can stand as a DNS name in a certificate.
func isDNSName(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, r := range label {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", r) {
				return false
			}
		}
	}
	return true
}
