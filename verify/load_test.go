package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A load writes and reads while a test does harm, and checks every answer. Each
// key has one writer, which writes 1, 2, 3 and so on. So of every read it is
// known what it may return: not less than what had been acknowledged or read by
// anyone before the read began, and not more than what the writer has begun.
//
// A write that got no answer at all may be carried out at any later time: the
// server may have been asleep with the command in its socket. After that its
// writer goes on with another key.
type load struct {
	t       *testing.T
	servers []*server
	keys    []atomic.Pointer[register] // as many as are written to at a time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	writes, reads atomic.Int64 // acknowledged, answered
	failures      atomic.Int64 // errors of both
	wrong         atomic.Int64

	mu  sync.Mutex
	all []*register // also those that are not written to any more; guarded by mu
}

// A register is one key with what is known of it.
type register struct {
	key   string
	begun atomic.Int64 // the highest value sent
	floor atomic.Int64 // the highest value acknowledged or read
}

// renew puts a new register into a place.
func (l *load) renew(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &register{key: fmt.Sprint("register ", len(l.all))}
	l.all = append(l.all, r)
	l.keys[i].Store(r)
}

// raise lifts the floor to n.
func (r *register) raise(n int64) {
	for {
		old := r.floor.Load()
		if n <= old || r.floor.CompareAndSwap(old, n) {
			return
		}
	}
}

const (
	loadWriters = 6
	loadReaders = 6
	loadKeys    = 60
)

func startLoad(t *testing.T, c *cluster) *load {
	t.Helper()
	l := &load{t: t, servers: c.all, keys: make([]atomic.Pointer[register], loadKeys)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for i := range loadKeys {
		l.renew(i)
	}
	for i := range loadWriters {
		l.wg.Go(func() { l.write(i) })
	}
	for i := range loadReaders {
		l.wg.Go(func() { l.read(i) })
	}
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

// write has every n-th key to itself and writes them in turn, through all servers.
func (l *load) write(n int) {
	random, clients := rand.New(rand.NewPCG(1, uint64(n))), newCaller(l.servers...)
	defer clients.close()
	for i := n; l.ctx.Err() == nil; i = (i + loadWriters) % loadKeys {
		r := l.keys[i].Load()
		value := r.begun.Add(1)
		_, err := clients.do(clients.pick(random), "SET", r.key, fmt.Sprint(value))
		if !l.failed(err) {
			r.raise(value)
			l.writes.Add(1)
		} else if _, answered := errors.AsType[replyError](err); !answered && !errors.Is(err, errUnsent) {
			l.renew(i)
		}
	}
}

func (l *load) read(n int) {
	random, clients := rand.New(rand.NewPCG(2, uint64(n))), newCaller(l.servers...)
	defer clients.close()
	for l.ctx.Err() == nil {
		l.readOne(clients, l.keys[random.IntN(len(l.keys))].Load(), clients.pick(random))
	}
}

// answers waits until a key can be read from a server.
func (l *load) answers(r *register, s *server) {
	l.t.Helper()
	clients := newCaller()
	defer clients.close()
	require.Eventually(l.t, func() bool { return l.readOne(clients, r, s) }, patience, 10*time.Millisecond)
}

// readOne reads a key from one server and checks the answer. It reports whether
// there was one.
func (l *load) readOne(clients *caller, r *register, s *server) bool {
	least := r.floor.Load()
	text, err := clients.do(s, "GET", r.key)
	if errors.Is(err, errNull) {
		text, err = "0", nil
	}
	if l.failed(err) {
		return false
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if most := r.begun.Load(); err != nil || value < least || value > most {
		l.wrong.Add(1)
		l.t.Errorf("%s at %s: read %q, which must be from %d to %d", r.key, s.name, text, least, most)
	}
	r.raise(value)
	l.reads.Add(1)
	return true
}

// failed reports an error. One that the server has sent must say what is the
// matter.
func (l *load) failed(err error) bool {
	if err == nil {
		return false
	}
	l.failures.Add(1)
	if reply, ok := errors.AsType[replyError](err); ok && !strings.HasPrefix(string(reply), "NOQUORUM ") {
		l.wrong.Add(1)
		l.t.Errorf("unexpected error: %v", reply)
	}
	return true
}

// progress waits until so many writes more have been acknowledged, and as many
// reads answered.
func (l *load) progress(more int64) {
	l.t.Helper()
	writes, reads := l.writes.Load()+more, l.reads.Load()+more
	require.Eventually(l.t, func() bool { return l.writes.Load() >= writes && l.reads.Load() >= reads || l.wrong.Load() > 0 },
		patience, 5*time.Millisecond, "the load does not get on")
}

// finish stops the load and reads every key once more, at every server.
func (l *load) finish() {
	l.t.Helper()
	l.stop()
	clients := newCaller()
	defer clients.close()
	for _, r := range l.all {
		for _, s := range l.servers {
			if !l.readOne(clients, r, s) {
				l.answers(r, s)
			}
		}
	}
	require.Zero(l.t, l.wrong.Load())
	l.t.Logf("%d writes, %d reads, %d failed", l.writes.Load(), l.reads.Load(), l.failures.Load())
}
