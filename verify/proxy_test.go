package verify

import (
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// A proxy is the wire from one node to another. Whatever one sends the other
// goes through it, also on the way back, so that a test can cut it without
// touching the system's network.
type proxy struct {
	listener net.Listener
	target   string
	there    *valve // from the node that dials
	back     *valve

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target, there: newValve(), back: newValve(), conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.join(near) })
	}
}

// join connects a caller with the target until one of them is gone. While the
// wire is cut there is no target to be reached, but the caller does not see that.
func (p *proxy) join(near net.Conn) {
	defer p.drop(near)
	if !p.keep(near) || !p.there.pass() || !p.back.pass() {
		return
	}
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.drop(far)
	if !p.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pump(far, near, p.there) })
	both.Go(func() { pump(near, far, p.back) })
	both.Wait()
}

// pump carries bytes as long as the valve lets them pass. The end of the
// connection has to pass, too: across a cut wire nobody notices it.
func pump(to, from net.Conn, v *valve) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !v.pass() {
			break
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.closed
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.there.remove()
	p.back.remove()
	p.wg.Wait()
}

// A valve is one direction of a wire.
type valve struct {
	mu      sync.Mutex
	changed *sync.Cond
	shut    bool
	removed bool
}

func newValve() *valve {
	v := &valve{}
	v.changed = sync.NewCond(&v.mu)
	return v
}

// pass waits until the valve is open. It reports false once it is removed.
func (v *valve) pass() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.shut && !v.removed {
		v.changed.Wait()
	}
	return !v.removed
}

func (v *valve) set(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
	v.changed.Broadcast()
}

func (v *valve) remove() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.removed = true
	v.changed.Broadcast()
}

func TestProxyCutsOneWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p := startProxy(t, l.Addr().String())
	near, err := net.Dial("tcp", p.address())
	require.NoError(t, err)
	defer near.Close()
	far, err := l.Accept()
	require.NoError(t, err)
	defer far.Close()

	p.there.set(true)
	_, err = near.Write([]byte("lost"))
	require.NoError(t, err)
	_, err = far.Write([]byte("heard"))
	require.NoError(t, err)
	buf := make([]byte, 16)
	n, err := near.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "heard", string(buf[:n]))

	p.there.set(false)
	n, err = far.Read(buf)
	require.NoError(t, err)
	require.Equal(t, "lost", string(buf[:n]))
	require.NoError(t, near.Close())
	_, err = far.Read(buf)
	require.Error(t, err)
	require.False(t, errors.Is(err, net.ErrClosed))
}
