package raft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"
)

// A fetch brings a snapshot here, from the leader that offered it.
//
// Several pieces are on their way at a time, as many as the link carries without
// delay, maxWindow at most; they are written in order, and each that is lost is
// asked for again. It goes on when the leader changes or offers a newer one: what
// was committed stays so, and a newer one that always took its place would starve
// it.
//
// When the node that it fetches from refuses, when nothing came from it for
// silence election times, or for one while another leader is known, it looks for a
// member that can go on: one that holds a snapshot of the same index, term, size and
// checksum, as those do who fetched it themselves. If there is none, it is given up
// after a refusal, as soon as another leader is known, who will offer its own, and
// after endurance election times; until then there is nothing better to do.
type fetch struct {
	node *Node
	info SnapshotInfo

	from    string        // who is asked
	refusal error         // what it said
	heard   time.Duration // when the last piece came, or a new source was found
	again   time.Duration // no other source is looked for before
	sources int           // that were found
	resume  time.Duration // nothing is asked for before

	pace    pace
	number  int            // of the next request
	pieces  []*piece       // asked for and not written, in order
	foot    piece          // the checksum at the end: it comes early, for it tells snapshots apart
	arrived chan arrival   // what was asked for
	asking  sync.WaitGroup // who asks

	size   uint64 // of the snapshot, 0 until the first piece is here
	stride uint64 // length of the pieces
	next   uint64 // asked for up to here
	offset uint64 // written up to here
	writer SnapshotWriter
	sum    hash.Hash32
}

const (
	silence   = 2
	endurance = 10
	// maxSources is how often a fetch goes on with another node.
	maxSources = 8
)

// A piece is a part of a snapshot.
type piece struct {
	from   uint64
	number int           // of the latest request
	asked  time.Duration // when
	late   time.Duration // when it counts as lost
	tries  int           // requests that were lost
	alone  bool          // nothing else was on its way
	stop   context.CancelFunc
	state  pieceState
	data   []byte
}

type pieceState uint8

const (
	wanted pieceState = iota // to be asked for
	asked
	here
)

// An arrival is what came of a request.
type arrival struct {
	piece    *piece
	number   int
	at       time.Duration
	response []byte
	err      error
}

var (
	// errObsolete says that the node got what the snapshot holds in another way.
	errObsolete = errors.New("raft: no longer needed")
	// errLocal marks what no other source mends.
	errLocal    = errors.New("raft: taking over a snapshot")
	errSilent   = errors.New("raft: no answer, and no other node has it")
	errNoReturn = errors.New("the storage ended the goroutine that it was called from")
)

// startFetch begins to fetch the snapshot that the leader offers. Called with mu
// held.
func (n *Node) startFetch() {
	if n.core.role == leader { // by now
		n.core.fetch = SnapshotInfo{}
		return
	}
	n.transfer.fetching = true
	f := &fetch{
		node: n, info: n.core.fetch, from: n.core.leader, heard: n.host.now(), pace: newPace(0),
		arrived: make(chan arrival, maxWindow+1), sum: newSum(),
	}
	n.workers.Go(func() { f.run(n.ending) })
}

// run fetches the snapshot, and ends well in any case: Storage may panic, or end
// the goroutine.
func (f *fetch) run(ctx context.Context) {
	err := fmt.Errorf("%w: %w", errLocal, errNoReturn)
	defer func() { f.end(err) }()
	defer f.abort()
	ctx, cancel := context.WithCancel(ctx)
	defer f.asking.Wait()
	defer cancel()
	e := f.bring(ctx)
	if e == nil {
		e = f.commit()
	}
	err = e
}

// end tells the node what came of it. A Storage that cannot take a snapshot is the
// end of the node's part: it cannot go on without, and would look well for ever.
func (f *fetch) end(err error) {
	n := f.node
	now := n.enter()
	defer n.leave(now, nil)
	n.transfer.fetching = false
	from, index := slog.String("from", f.from), slog.Uint64("index", f.info.Index)
	switch {
	case n.closed:
	case errors.Is(err, errLocal):
		n.fail(err)
	case err != nil:
		level := slog.LevelWarn
		if errors.Is(err, errObsolete) {
			level = slog.LevelInfo
		}
		n.note(level, "a snapshot was not fetched", from, index, slog.Any("error", err))
		n.core.fetchFailed(now)
	default:
		n.stats.Fetched++
		n.transfer.fetching = true // until it is restored
		n.apply.restore = &f.info
	}
}

// abort drops what was not committed.
func (f *fetch) abort() {
	f.node.host.pieces.fetched.Add(int64(-len(f.pieces)))
	f.pieces = nil
	if f.writer != nil {
		_ = f.writer.Abort() // does nothing after Commit
	}
}

// commit makes a snapshot that is here the newest one.
func (f *fetch) commit() error {
	n := f.node
	if got := binary.LittleEndian.Uint32(f.foot.data); got != f.sum.Sum32() {
		return fmt.Errorf("%w: wrong checksum", errSnapshot)
	}
	now := n.enter()
	wanted := !n.closed && n.core.beginInstall(now, f.info)
	n.leave(now, nil)
	if !wanted {
		return errObsolete
	}
	return local(f.writer.Commit())
}

// local marks an error of Storage.
func local(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errLocal, err)
}

// bring fetches all pieces and writes them.
func (f *fetch) bring(ctx context.Context) error {
	for {
		if err := f.drain(); err != nil {
			return err
		}
		v := f.look()
		if v.over != nil {
			return v.over
		}
		f.giveUpLate(v.now)
		if err := f.doubt(ctx, &v); err != nil {
			return err
		}
		f.ask(ctx, f.node.host.now()) // doubts take their time
		if err := f.wait(ctx, &v); err != nil {
			return err
		}
		if err := f.write(); err != nil {
			return err
		}
		if f.size > 0 && f.offset == f.body() && f.foot.state == here {
			_, err := f.writer.Write(f.foot.data)
			return local(err)
		}
	}
}

// body returns the length of what the checksum is of.
func (f *fetch) body() uint64 { return f.size - snapshotFoot }

// A view is what a fetch needs to know of the node.
type view struct {
	now     time.Duration
	over    error // why there is nothing more to fetch
	leader  string
	changed <-chan struct{} // another leader may be known
}

func (f *fetch) look() view {
	n := f.node
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.core
	now := n.host.now()
	v := view{now: now, over: n.gone(), leader: c.leader, changed: n.watch()}
	if v.over == nil && c.commit >= f.info.Index {
		v.over = errObsolete
	}
	return v
}

// giveUpLate has pieces that are late asked for again.
func (f *fetch) giveUpLate(now time.Duration) {
	for p := range f.onTheWay() {
		if now >= p.late {
			f.lost(p)
		}
	}
}

// onTheWay yields the pieces that were asked for and did not come yet, in order.
func (f *fetch) onTheWay() func(yield func(*piece) bool) {
	return func(yield func(*piece) bool) {
		if f.foot.state == asked && !yield(&f.foot) {
			return
		}
		for _, p := range f.pieces {
			if p.state == asked && !yield(p) {
				return
			}
		}
	}
}

func (f *fetch) lost(p *piece) {
	p.stop()
	p.state = wanted
	p.tries++
	f.pace.shrink(p.number, f.number+1)
}

func (f *fetch) request(p *piece) *request {
	return &request{op: opSnapshot, index: f.info.Index, term: f.info.Term, from: p.from}
}

// ask asks for as much as may be on its way: first for what was lost.
func (f *fetch) ask(ctx context.Context, now time.Duration) {
	flying := f.flying()
	for now >= f.resume && f.mayAsk(flying) {
		p := f.nextWanted()
		if p == nil {
			return
		}
		if p != &f.foot && p.number == 0 {
			f.pieces = append(f.pieces, p)
			f.next += f.stride
			f.node.host.pieces.fetched.Add(1)
		}
		p.alone = flying == 0
		f.askFor(ctx, p, now)
		flying++
	}
}

// flying returns how many pieces are on their way.
func (f *fetch) flying() (n int) {
	for range f.onTheWay() {
		n++
	}
	return n
}

// mayAsk reports whether there may be one more on its way.
func (f *fetch) mayAsk(flying int) bool {
	return flying < f.pace.size && (flying == 0 || f.node.host.pieces.fetched.Load() < hostPieces)
}

// nextWanted returns what to ask for next, nil if there is nothing.
func (f *fetch) nextWanted() *piece {
	for _, p := range f.pieces {
		if p.state == wanted {
			return p
		}
	}
	switch {
	case f.size == 0 && len(f.pieces) > 0: // how much there is comes with the first one
		return nil
	case f.size > 0 && f.foot.state == wanted:
		f.foot.from = f.body()
		return &f.foot
	case f.size > 0 && f.next >= f.body(), len(f.pieces) == maxWindow:
		return nil
	}
	return &piece{from: f.next}
}

// askFor asks for a piece.
func (f *fetch) askFor(ctx context.Context, p *piece, now time.Duration) {
	n := f.node
	f.number++
	p.number, p.state, p.asked = f.number, asked, now
	p.late = now + f.pace.patience(p.tries, n.config.Heartbeat, n.config.Election)
	limited, stop := context.WithCancel(ctx)
	p.stop = stop
	from, number, q := f.from, p.number, f.request(p)
	f.asking.Go(func() {
		response, err := n.ask(limited, from, q)
		select {
		case f.arrived <- arrival{p, number, n.host.now(), response, err}:
		case <-ctx.Done():
		}
	})
}

// wait waits for something to happen.
func (f *fetch) wait(ctx context.Context, v *view) error {
	until := max(f.again, f.heard+f.trust(v))
	for p := range f.onTheWay() {
		until = min(until, p.late)
	}
	if f.resume > v.now {
		until = min(until, f.resume)
	}
	timer := time.NewTimer(until - f.node.host.now())
	defer timer.Stop()
	select {
	case a := <-f.arrived:
		return f.take(a)
	case <-v.changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// drain takes what has arrived.
func (f *fetch) drain() error {
	for {
		select {
		case a := <-f.arrived:
			if err := f.take(a); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// take takes what came of a request. The error is one of Storage.
func (f *fetch) take(a arrival) error {
	n, p := f.node, a.piece
	if p.state != asked || p.number != a.number {
		return nil // it was given up
	}
	p.stop()
	switch {
	case errors.As(a.err, new(*remoteError)) && !errors.Is(a.err, ErrOverloaded):
		f.refuse(p, a.err)
		return nil
	case a.err != nil:
		f.lost(p)
		f.resume = a.at + n.config.Heartbeat
		return nil
	}
	size, membership, data, err := readPiece(a.response)
	if err == nil && f.size == 0 {
		if err = f.info.Membership.UnmarshalBinary(membership); err == nil {
			if f.writer, err = n.config.Storage.CreateSnapshot(f.info); err != nil {
				return local(err)
			}
			f.size, f.stride = size, min(uint64(len(data)), size-snapshotFoot)
			f.next = f.stride
		}
	}
	need := uint64(snapshotFoot)
	if p != &f.foot {
		need = min(f.stride, f.body()-min(p.from, f.body()))
	}
	switch {
	case err != nil:
		f.refuse(p, fmt.Errorf("%w, from %s", err, f.from))
		return nil
	case size != f.size || uint64(len(data)) < need:
		f.refuse(p, fmt.Errorf("%w: %s has another one by that name", errSnapshot, f.from))
		return nil
	}
	p.state, p.data = here, data[:need]
	f.heard = max(f.heard, a.at)
	if need == f.stride { // a short one tells nothing of the others
		f.pace.came(p, a.at-p.asked, n.config.Heartbeat, f.number+1)
	}
	return nil
}

// refuse notes that the source does not have a piece.
func (f *fetch) refuse(p *piece, err error) {
	p.state = wanted
	f.refusal = err
}

// readPiece reads a response: the size of the snapshot, its membership if it is the
// first piece, and what there is from where it was asked for.
func readPiece(response []byte) (size uint64, membership, data []byte, err error) {
	r := reader{rest: response}
	size = r.uvarint()
	membership = r.take(r.uvarint())
	data = r.rest
	if r.err != nil || size < snapshotHead+snapshotFoot || size > math.MaxInt64 || len(data) == 0 || len(data) > pieceBytes {
		return 0, nil, nil, fmt.Errorf("%w: a piece of a snapshot", errMalformed)
	}
	return size, membership, data, nil
}

// write writes the pieces that are here and whose turn it is.
func (f *fetch) write() error {
	for len(f.pieces) > 0 && f.pieces[0].state == here {
		data := f.pieces[0].data
		if _, err := f.writer.Write(data); err != nil {
			return local(err)
		}
		f.sum.Write(data)
		f.offset += uint64(len(data))
		f.pieces = slices.Delete(f.pieces, 0, 1)
		f.node.host.pieces.fetched.Add(-1)
		f.heard = f.node.host.now() // a slow disk is not the source's silence
	}
	return nil
}
