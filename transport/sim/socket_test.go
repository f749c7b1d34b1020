package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pair connects a to a listener on b and returns both ends.
func pair(w *World, a, b *Transport) (near, far net.Conn) {
	t := w.T()
	t.Helper()
	l, err := b.Listen("tcp", ":0")
	require.NoError(t, err)
	defer l.Close()
	near, err = a.DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	return near, far
}

const steadyDelay = 10 * time.Millisecond

var steady = Faults{Delay: Constant(steadyDelay)}

func TestStreamKeepsBytesUnderEveryFault(t *testing.T) {
	faults := Faults{Drop: 0.1, Duplicate: 0.1, Reorder: 0.2, Delay: Exponential(0, 5*time.Millisecond), Bandwidth: 10 << 20}
	Run(t, Config{Seed: 3, Faults: faults}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		sent := make([]byte, 3<<20)
		random := w.Rand("bytes")
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		go func() {
			near.Write(sent)
			near.(interface{ CloseWrite() error }).CloseWrite()
		}()
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.True(t, bytes.Equal(sent, got), "what arrived is not what was sent")

		_, err = far.Write([]byte("thanks")) // the other direction is still open
		require.NoError(t, err)
		require.NoError(t, far.Close())
		answer, err := io.ReadAll(near)
		require.NoError(t, err)
		require.Equal(t, "thanks", string(answer))
	})
}

func TestWriterWaitsForAPeerThatStoppedReading(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		near.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := near.Write(make([]byte, 1<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, window, n)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())

		near.SetWriteDeadline(time.Time{})
		go io.Copy(io.Discard, far)
		n, err = near.Write(make([]byte, 1<<20))
		require.NoError(t, err)
		require.Equal(t, 1<<20, n)
	})
}

func TestReadDeadlineMovesWhileReading(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		start := time.Now()
		near.SetReadDeadline(start.Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			near.SetReadDeadline(time.Now().Add(time.Second))
		}()
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(start))

		near.SetReadDeadline(time.Time{}) // the connection is none the worse
		far.Write([]byte("x"))
		n, err := near.Read(make([]byte, 1))
		require.NoError(t, err)
		require.Equal(t, 1, n)

		near.SetReadDeadline(time.Unix(1, 0)) // long past: at once
		_, err = near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	})
}

func TestDialErrors(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		a, b := w.Join("a"), w.Join("b")
		_, err := a.DialContext(t.Context(), "tcp", "b:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		_, err = a.DialContext(t.Context(), "tcp", "nobody:80")
		var dns *net.DNSError
		require.ErrorAs(t, err, &dns)
		require.True(t, dns.IsNotFound)
		_, err = a.DialContext(t.Context(), "udp", "b:80")
		require.Error(t, err)
		_, err = a.DialContext(t.Context(), "tcp", "b:http-alt")
		require.Error(t, err)
		_, err = a.Listen("tcp", "b:80")
		require.Error(t, err)

		l, err := b.Listen("tcp", "b:80")
		require.NoError(t, err)
		_, err = b.Listen("tcp", ":80")
		require.ErrorIs(t, err, syscall.EADDRINUSE)

		high, err := b.Listen("tcp", ":0")
		require.NoError(t, err)
		_, err = b.Listen("tcp", high.Addr().String())
		require.ErrorIs(t, err, syscall.EADDRINUSE)

		w.Partition([]string{"a"}, []string{"b"})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err = a.DialContext(ctx, "tcp", "b:80")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(start))
		_, err = a.DialContext(t.Context(), "tcp", "b:80")
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
		w.Heal()

		require.NoError(t, l.Close())
		_, err = l.Accept()
		require.ErrorIs(t, err, net.ErrClosed)
		w.Crash("b")
		_, err = a.DialContext(t.Context(), "tcp", "b:80")
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.NoError(t, a.Close())
		_, err = a.DialContext(t.Context(), "tcp", "b:80")
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestCrashResetsConnections(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		start := time.Now()
		w.Crash("b")
		_, err := far.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = near.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Equal(t, 10*time.Millisecond, time.Since(start))
	})
}

// A crash behind a partition is only noticed by who sends, after the partition.
func TestCrashBehindPartitionIsSilent(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, _ := pair(w, w.Join("a"), w.Join("b"))
		w.Partition([]string{"a"}, []string{"b"})
		w.Crash("b")
		w.Restart("b", nil)
		near.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		w.Heal()
		near.SetReadDeadline(time.Time{})
		near.Write([]byte("anybody?"))
		_, err = near.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

// A node that has crashed sends nothing again, not even after its restart.
func TestCrashEndsRetransmission(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		w.Link("a", "b").Set(Faults{Drop: 1, Delay: Constant(time.Second)})
		near.Write([]byte("from a former life")) // found lost after the crash
		w.Crash("a")
		w.Restart("a", nil)
		w.Link("a", "b").Set(steady)
		far.SetReadDeadline(time.Now().Add(time.Hour / 2))
		_, err := far.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NotContains(t, w.Trace(), "message  a->b data")
	})
}

func TestConcurrentWritesDoNotMix(t *testing.T) {
	Run(t, Config{}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		const writers, size = 4, 300_000 // each larger than the window
		for i := range writers {
			go near.Write(bytes.Repeat([]byte{byte(i)}, size))
		}
		got := make([]byte, writers*size)
		_, err := io.ReadFull(far, got)
		require.NoError(t, err)
		for i := range writers {
			part := got[i*size : (i+1)*size]
			require.Equal(t, size, bytes.Count(part, part[:1]))
		}
	})
}

func TestConnectionOutlivesAShortPartition(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		w.Partition([]string{"a"}, []string{"b"})
		near.Write([]byte("hello"))
		time.Sleep(5 * time.Second)
		w.Heal()
		buf := make([]byte, 5)
		_, err := io.ReadFull(far, buf)
		require.NoError(t, err)
		require.Equal(t, "hello", string(buf))

		w.Cut("a", "b")
		near.Write([]byte("lost"))
		_, err = near.Read(buf) // until the sender gives up
		require.ErrorIs(t, err, syscall.ETIMEDOUT)
	})
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		near.Write([]byte("unread"))
		time.Sleep(time.Second)
		require.NoError(t, far.Close())
		require.ErrorIs(t, far.Close(), net.ErrClosed)
		_, err := near.Read(make([]byte, 1))
		require.ErrorIs(t, err, syscall.ECONNRESET)
	})
}

func TestBandwidthSetsThePace(t *testing.T) {
	Run(t, Config{Faults: Faults{Bandwidth: 1 << 20, Delay: Constant(0)}}, func(w *World) {
		t := w.T()
		near, far := pair(w, w.Join("a"), w.Join("b"))
		start := time.Now()
		go func() {
			near.Write(make([]byte, 4<<20))
			near.Close()
		}()
		n, err := io.Copy(io.Discard, far)
		require.NoError(t, err)
		require.EqualValues(t, 4<<20, n)
		require.InDelta(t, 4, time.Since(start).Seconds(), 0.1)
	})
}

// serveHTTP runs an unmodified net/http server until its node ends.
func serveHTTP(t *Transport, handler http.Handler) {
	l, err := t.Listen("tcp", ":80")
	if err != nil {
		return
	}
	server := &http.Server{Handler: handler}
	context.AfterFunc(t.Context(), func() { server.Close() })
	go server.Serve(l)
}

func TestUnmodifiedHTTPThroughPartitionAndCrash(t *testing.T) {
	Run(t, Config{Faults: steady}, func(w *World) {
		t := w.T()
		boot := func(tr *Transport) {
			serveHTTP(tr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.Write([]byte(strings.ToUpper(string(body))))
			}))
		}
		boot(w.Join("server"))
		client := &http.Client{
			Transport: &http.Transport{DialContext: w.Join("client").DialContext},
			Timeout:   3 * time.Second,
		}
		post := func() (string, error) {
			response, err := client.Post("http://server/", "text/plain", strings.NewReader("hello"))
			if err != nil {
				return "", err
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			return string(body), err
		}
		for range 3 {
			body, err := post()
			require.NoError(t, err)
			require.Equal(t, "HELLO", body)
		}
		w.Partition([]string{"client"}, []string{"server"})
		start := time.Now()
		_, err := post()
		var timeout net.Error
		require.True(t, errors.As(err, &timeout) && timeout.Timeout(), "got %v", err)
		require.Equal(t, 3*time.Second, time.Since(start))
		w.Heal()
		body, err := post()
		require.NoError(t, err)
		require.Equal(t, "HELLO", body)

		w.Crash("server")
		time.Sleep(steadyDelay) // until the client has seen its connection reset
		w.Wait()
		_, err = post()
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		w.Restart("server", boot)
		_, err = post()
		require.NoError(t, err)
	})
}

func TestCloseWhileDialing(t *testing.T) {
	Run(t, Config{Faults: Faults{Delay: Constant(time.Millisecond)}}, func(w *World) {
		a := w.Join("a")
		w.Join("b")
		ended := make(chan error, 1)
		go func() {
			_, err := a.DialContext(w.T().Context(), "tcp", "b:80")
			ended <- err
		}()
		w.Wait()
		require.NoError(w.T(), a.Close())
		require.Error(w.T(), <-ended)
		time.Sleep(time.Second)
	})
}
