package tcp_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// A proxy stands between a node and those that dial it, and misbehaves when told.
type proxy struct {
	listener net.Listener
	target   string
	accepted atomic.Int64
	flip     atomic.Bool // change one bit of what comes next

	mu    sync.Mutex
	thaw  chan struct{} // closed while bytes pass
	conns map[net.Conn]bool
	over  bool
	group sync.WaitGroup
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: target, thaw: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(p.thaw)
	p.group.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		if !p.keep(in, out) {
			return
		}
		p.group.Go(func() { p.pump(in, out) })
		p.group.Go(func() { p.pump(out, in) })
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.over {
			c.Close()
		}
		p.conns[c] = true
	}
	return !p.over
}

func (p *proxy) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if p.flip.Swap(false) {
			buf[n/2] ^= 4
		}
		p.mu.Lock()
		thaw := p.thaw
		p.mu.Unlock()
		<-thaw
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// freeze lets nothing pass from now on, and tells nobody.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.thaw = make(chan struct{})
}

// cut closes the connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}

func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.over = true
	select {
	case <-p.thaw:
	default:
		close(p.thaw)
	}
	p.mu.Unlock()
	p.cut()
	p.group.Wait()
}
