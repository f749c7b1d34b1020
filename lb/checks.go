package lb

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// HTTPCheck returns a Check that gets a path from the backend by plain HTTP: it
// is well if the status is 200 to 399. Redirects are not followed. Each check
// makes a connection of its own, so that it also finds out whether there is one to
// be had.
func HTTPCheck(path string) Check {
	transport := &http.Transport{DisableKeepAlives: true}
	return HTTPCheckWith(transport, func(be Backend) string { return "http://" + be.Name + "/" + strings.TrimPrefix(path, "/") })
}

// HTTPCheckWith is HTTPCheck by way of a round tripper, which may have TLS and
// connections that it keeps, with the URL that address gives for a backend.
func HTTPCheckWith(transport http.RoundTripper, address func(Backend) string) Check {
	return func(ctx context.Context, be Backend) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address(be), nil)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.CopyN(io.Discard, resp.Body, maxAnswer); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if resp.StatusCode < 200 || resp.StatusCode >= 400 {
			return fmt.Errorf("lb: health check: HTTP status %d", resp.StatusCode)
		}
		return nil
	}
}

// maxAnswer is how much of the answer to a check is read.
const maxAnswer = 4 << 10

// TCPCheck returns a Check that connects to the backend's name, which is its
// address, and hangs up.
func TCPCheck() Check {
	return func(ctx context.Context, be Backend) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", be.Name)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// GRPCCheck returns a Check that asks for a service by the gRPC health checking
// protocol, grpc.health.v1.Health/Check, the empty name being the server as a
// whole. The backend is well if it answers SERVING. config is for TLS; nil means
// HTTP/2 in the clear.
func GRPCCheck(service string, config *tls.Config) Check {
	transport := &http.Transport{DisableKeepAlives: true, Protocols: new(http.Protocols)}
	scheme := "http"
	if config == nil {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		scheme = "https"
		transport.TLSClientConfig = config.Clone()
		transport.Protocols.SetHTTP2(true)
	}
	request := frameHealthRequest(service)
	return func(ctx context.Context, be Backend) error {
		address := url.URL{Scheme: scheme, Host: be.Name, Path: "/grpc.health.v1.Health/Check"}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), bytes.NewReader(request))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("TE", "trailers")
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return readHealthResponse(resp)
	}
}

// frameHealthRequest returns a HealthCheckRequest, whose field 1 is the service,
// behind the five bytes of a gRPC message.
func frameHealthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(service)))
		message = append(message, service...)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// readHealthResponse returns why a response does not say SERVING.
func readHealthResponse(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("lb: health check: HTTP status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	status, message := resp.Trailer.Get("Grpc-Status"), resp.Trailer.Get("Grpc-Message")
	if status == "" { // an error without a message comes with trailers only
		status, message = resp.Header.Get("Grpc-Status"), resp.Header.Get("Grpc-Message")
	}
	if status != "0" {
		return fmt.Errorf("lb: health check: gRPC status %q: %s", status, message)
	}
	serving, err := parseHealthResponse(body)
	if err != nil {
		return err
	}
	if serving != 1 {
		return fmt.Errorf("lb: health check: serving status %d, and not 1, SERVING", serving)
	}
	return nil
}

var errBadAnswer = errors.New("lb: health check: not a HealthCheckResponse")

// parseHealthResponse returns field 1, the status, of a framed HealthCheckResponse;
// 0, UNKNOWN, if it is not there. Other fields are skipped.
func parseHealthResponse(frame []byte) (status uint64, err error) {
	if len(frame) < 5 || frame[0] != 0 || uint64(binary.BigEndian.Uint32(frame[1:])) != uint64(len(frame)-5) {
		return 0, errBadAnswer
	}
	for message := frame[5:]; len(message) > 0; {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 == 0 {
			return 0, errBadAnswer
		}
		message = message[n:]
		var skip uint64
		switch tag & 7 {
		case 0:
			value, n := binary.Uvarint(message)
			if n <= 0 {
				return 0, errBadAnswer
			}
			if tag>>3 == 1 {
				status = value
			}
			skip = uint64(n)
		case 1:
			skip = 8
		case 2:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)) {
				return 0, errBadAnswer
			}
			skip = uint64(n) + length
		case 5:
			skip = 4
		default:
			return 0, errBadAnswer
		}
		if skip > uint64(len(message)) {
			return 0, errBadAnswer
		}
		message = message[skip:]
	}
	return status, nil
}
