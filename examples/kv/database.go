package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/parley-go/parley/quorum"
	"github.com/parley-go/parley/ring"
	"github.com/parley-go/parley/transport"
)

// The bounds of what a client can store.
const (
	maxKey   = quorum.MaxKey
	maxValue = quorum.MaxValue - itemOverhead
)

// editService is the name under which nodes hand each other edits.
const editService = "kv.edit"

// A database is the store of a whole cluster, as one of its nodes sees it. What
// need not look at what is there goes straight to the replicas, through quorum.
// What must is decided at one node, the key's decider: the first of its owners
// that can be reached. It takes one edit of a key at a time, so among edits the
// answer is right as long as all nodes agree on who that is, which they do while
// there is no fault.
type database struct {
	transport transport.Transport
	ring      *ring.Ring
	store     *quorum.Store
	replicas  int
	locks     keyLocks // of the edits that are decided here
	stop      func()
}

func newDatabase(t transport.Transport, r *ring.Ring, s *quorum.Store, replicas int) *database {
	d := &database{transport: t, ring: r, store: s, replicas: replicas}
	d.stop = t.Serve(editService, d.serveEdit)
	return d
}

// close waits for the edits that are being decided here.
func (d *database) close() { d.stop() }

// Get reads from a majority of the key's owners and returns the newest item.
func (d *database) Get(ctx context.Context, key string) (it item, found bool, err error) {
	if err := checkKey(key); err != nil {
		return item{}, false, err
	}
	value, err := d.store.Get(ctx, key)
	if err != nil {
		return item{}, false, explain("read", err)
	}
	newest, found := value.Newest()
	if !found {
		return item{}, false, nil
	}
	it, err = decodeItem(newest)
	return it, err == nil, err
}

// Set writes to a majority of the key's owners, whatever was there.
func (d *database) Set(ctx context.Context, key string, it item) error {
	if err := checkSizes(key, it); err != nil {
		return err
	}
	_, err := d.store.Put(ctx, key, it.append(nil), quorum.Version{})
	return explain("write", err)
}

// Edit has the key's decider carry out an edit. An owner that cannot be reached
// is passed over. It may have carried the edit out all the same: the tag tells
// the next one.
func (d *database) Edit(ctx context.Context, key string, e edit) (outcome, error) {
	if err := checkSizes(key, e.item); err != nil {
		return outcome{}, err
	}
	e.item.tag = max(1, rand.Uint64())
	owners := d.ring.Owners(make([]string, 0, quorum.MaxReplicas), key, d.replicas)
	what := []string{fmt.Sprintf("NOQUORUM 0 of %d replicas answered, 1 must decide", len(owners))}
	for i, owner := range owners {
		o, err := d.ask(ctx, owner, key, e, len(owners)-i)
		if err == nil || !unreached(err) {
			return o, err
		}
		what = append(what, fmt.Sprintf("%s: %v", owner, err))
		if ctx.Err() != nil {
			break
		}
	}
	return outcome{}, replyError(strings.Join(append(what, uncertain), "; "))
}

// unreached reports whether an error means that a node was not there to decide,
// rather than that it had a reason not to.
func unreached(err error) bool {
	return errors.Is(err, transport.ErrUnreachable) || errors.Is(err, transport.ErrNoService) ||
		errors.Is(err, transport.ErrOverflow) || errors.Is(err, transport.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// ask has one owner decide. It leaves time for as many others as may have to be
// asked after it.
func (d *database) ask(ctx context.Context, owner, key string, e edit, shares int) (outcome, error) {
	if owner == d.transport.Local() {
		return d.decide(ctx, key, e)
	}
	if deadline, ok := ctx.Deadline(); ok && shares > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
		defer cancel()
	}
	answer, err := d.transport.Call(ctx, owner, editService, e.append(nil, key))
	if err != nil {
		return outcome{}, err
	}
	return decodeOutcome(answer)
}

// serveEdit decides for another node. What it answers is an outcome, or the
// error that the client is to read.
func (d *database) serveEdit(ctx context.Context, _ string, request []byte) ([]byte, error) {
	key, e, err := decodeEdit(request)
	if err != nil {
		return nil, err
	}
	o, err := d.decide(ctx, key, e)
	return appendOutcome(nil, o, err), nil
}

// decide carries out an edit while no other edit of the key is under way here.
func (d *database) decide(ctx context.Context, key string, e edit) (outcome, error) {
	unlock, err := d.locks.lock(ctx, key)
	if err != nil {
		return outcome{}, replyError(fmt.Sprintf("TRYAGAIN another command holds the key: %v", err))
	}
	defer unlock()
	before, found, err := d.Get(ctx, key)
	if err != nil {
		return outcome{}, err
	}
	o, after := e.apply(time.Now(), before, found)
	switch {
	case !o.done || o.repeated:
		return o, nil
	case e.verb == remove:
		_, err = d.store.Delete(ctx, key, quorum.Version{})
		return o, explain("write", err)
	default:
		return o, d.Set(ctx, key, after)
	}
}

func checkKey(key string) error {
	if len(key) == 0 || len(key) > maxKey {
		return replyError(fmt.Sprintf("ERR a key has 1 to %d bytes, this one has %d", maxKey, len(key)))
	}
	return nil
}

func checkSizes(key string, it item) error {
	if len(it.value) > maxValue {
		return replyError(fmt.Sprintf("ERR a value has at most %d bytes, this one has %d", maxValue, len(it.value)))
	}
	return checkKey(key)
}

// explain turns an error of the quorum into what the client is to read. verb is
// "read" or "write".
func explain(verb string, err error) error {
	if err == nil {
		return nil
	}
	if short, ok := errors.AsType[*quorum.ShortError](err); ok {
		return replyError(fmt.Sprintf("NOQUORUM %s not acknowledged: %s", verb, describe(short)))
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, quorum.ErrClosed) {
		return replyError(fmt.Sprintf("NOQUORUM %s not acknowledged: no replica was asked: %v", verb, err))
	}
	return fmt.Errorf("%s failed: %w", verb, err)
}

// uncertain is what an error says of a write that was sent.
const uncertain = "it may be done all the same"

// describe says how many replicas answered and what became of the others.
func describe(short *quorum.ShortError) string {
	what := []string{fmt.Sprintf("%d of %d replicas answered, %d must", short.Answered, short.Of, short.Wanted)}
	for _, f := range short.Failed {
		what = append(what, f.Error())
	}
	if short.Uncertain {
		what = append(what, uncertain)
	}
	return strings.Join(what, "; ")
}
