package quorum

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/parley-go/parley/internal/draw"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// A Store is one node of a replicated key-value store: it coordinates reads and
// writes of any key, and if it is a member of the ring it holds the records of
// the keys that it owns. All methods are safe for concurrent use. Make it with
// Start and end it with Close.
type Store struct {
	config Config
	self   string
	table  *ring.Snapshot
	member bool // of the ring

	base        context.Context // ends with Close
	cancel      context.CancelFunc
	stopServing func()

	mu     sync.Mutex
	closed bool           // guarded by mu
	wg     sync.WaitGroup // every goroutine and every operation; raised from 0 only under mu

	clockMu sync.Mutex
	clock   clock // guarded by clockMu

	token     chan struct{} // whoever holds it may use the next four
	recovery  *recovery
	saved     []byte        // what SaveState was given last
	unsaved   bool          // SaveState has failed since
	changed   chan struct{} // closed and replaced at every step
	standing  atomic.Pointer[standing]
	ready     chan struct{} // closed once the recovery is complete
	readyOnce sync.Once
	local     chan struct{} // a place for each call of this node's own storage
	copying   chan struct{} // a place for each copy that runs

	background atomic.Int64 // rounds that nobody waits for, and repairs
	stats      counters
}

// Start starts a node of the store. It returns at once: use [Store.Ready] to
// wait until the node counts for reads. The error is ErrInvalid and names the
// field of Config, or is what the Storage returned.
func Start(c Config) (*Store, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	table := c.Ring.Snapshot()
	if err := c.checkMembers(table); err != nil {
		return nil, err
	}
	s := &Store{
		config: c, self: c.Transport.Local(), table: table,
		token:   make(chan struct{}, 1),
		changed: make(chan struct{}),
		ready:   make(chan struct{}),
		local:   make(chan struct{}, c.Background),
		copying: make(chan struct{}, copiesAtOnce),
	}
	_, s.member = table.Node(s.self)
	random := draw.NewStream(c.Seed, "quorum", s.self)
	s.clock = newClock(s.self, c.MaxSkew, random.Uint64)
	s.base, s.cancel = context.WithCancel(context.Background())
	if err := s.recover(newIncarnation(s.now(), random.Uint64())); err != nil {
		s.cancel()
		return nil, err
	}
	s.stopServing = c.Transport.Serve(c.Service, s.serve)
	for i := range s.recovery.peers {
		s.wg.Add(1)
		go s.accompany(s.recovery.peers[i].name)
	}
	return s, nil
}

// recover finds out what this node still has, and saves under which number it
// lives before it says so to anyone.
func (s *Store) recover(fresh uint64) error {
	var peers []string
	var saved []byte
	if s.member {
		var err error
		if saved, err = s.config.Storage.LoadState(); err != nil {
			return fmt.Errorf("quorum: loading the state: %w", err)
		}
		for node := range s.table.Nodes() {
			if node.Name != s.self {
				peers = append(peers, node.Name)
			}
		}
	}
	var err error
	placement := fingerprint(s.table, s.config.N, s.config.W)
	s.recovery, err = newRecovery(peers, s.config.W, placement, saved, fresh)
	if err != nil {
		return fmt.Errorf("quorum: the state that the storage has kept: %w", err)
	}
	s.token <- struct{}{}
	if err := s.change(s.base, func(*recovery) {}); err != nil {
		return fmt.Errorf("quorum: saving the state: %w", err)
	}
	return nil
}

// fingerprint stands for a placement of keys: the members and, for what they do
// not say, the owners of some keys.
func fingerprint(table *ring.Snapshot, n, w int) uint64 {
	b := []byte{byte(n), byte(w)}
	for node := range table.Nodes() {
		b = appendString(appendString(b, node.Name), node.Zone)
		b = binary.AppendUvarint(b, uint64(node.Weight))
	}
	var buf [MaxReplicas]string
	for i := range 64 {
		for _, owner := range table.Owners(buf[:0], fmt.Sprint("probe ", i), n) {
			b = appendString(b, owner)
		}
	}
	return xxhash.Sum64(b)
}

// Close stops the node, ends the operations under way with ErrClosed and waits
// for everything that it has started. It does not close the Transport or the
// Storage. Called from inside the Transport's handlers or the Storage's methods
// it would wait for itself. It may be called more than once; the error is always
// nil.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.stopServing()
	s.wg.Wait()
	return nil
}

// enter begins an operation, during which wg does not fall to 0. It is ended by
// s.wg.Done.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return transport.ContextError(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.wg.Add(1)
	return nil
}

// reserve takes a place in the background, if there is one; give it back with
// s.background.Add(-1).
func (s *Store) reserve() bool {
	if s.background.Add(1) <= int64(s.config.Background) {
		return true
	}
	s.background.Add(-1)
	return false
}

// owners appends the owners of a key to buf.
func (s *Store) owners(buf []string, key string) []string {
	return s.table.Owners(buf, key, s.config.N)
}

func (s *Store) now() int64 { return s.config.Now().UnixNano() }
