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

// editService is the name under which nodes hand each other edits.
const editService = "kv.edit"

// A database is the store of a whole cluster without a leader, as one of its nodes
// sees it. What need not look at what is there goes straight to the replicas,
// through quorum. What must is decided at one node, the key's decider: the first
// of its owners that can be reached. It takes one edit of a key at a time, so among
// edits the answer is right as long as all nodes agree on who that is, which they
// do while there is no fault.
type database struct {
	transport transport.Transport
	ring      *ring.Ring
	store     *quorum.Store
	replicas  int
	locks     keyLocks // of the edits that are decided here
	stop      func()
}

// startDatabase places keys on the nodes by a ring and has quorum replicate them.
func startDatabase(t transport.Transport, c nodeConfig) (*database, error) {
	var members []ring.Node
	for _, name := range c.nodes {
		members = append(members, ring.Node{Name: name})
	}
	r, err := ring.New(ring.Config{}, members...)
	if err != nil {
		return nil, err
	}
	d := &database{transport: t, ring: r, replicas: min(c.replicas, len(c.nodes))}
	d.store, err = quorum.Start(quorum.Config{
		Transport: t,
		Ring:      r,
		Storage:   quorum.NewMemory(),
		N:         d.replicas,
		Timeout:   c.server.command,
		Logger:    c.log,
	})
	if err != nil {
		return nil, err
	}
	d.stop = t.Serve(editService, d.serveEdit)
	return d, nil
}

// close waits for the edits that are being decided here, and for the rest.
func (d *database) close() error {
	d.stop()
	return d.store.Close()
}

func (d *database) awaitReady(ctx context.Context) error { return d.store.Ready(ctx) }

// Now returns the time of this node.
func (d *database) Now() time.Time { return time.Now() }

// Get reads one key after the other.
func (d *database) Get(ctx context.Context, keys ...string) ([]item, error) {
	items := make([]item, len(keys))
	for i, key := range keys {
		var err error
		if items[i], err = d.read(ctx, key); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// read reads from a majority of the key's owners and returns the newest item.
func (d *database) read(ctx context.Context, key string) (item, error) {
	if err := checkKey(key); err != nil {
		return item{}, err
	}
	value, err := d.store.Get(ctx, key)
	if err != nil {
		return item{}, explain("read", err)
	}
	newest, found := value.Newest()
	if !found {
		return nothing, nil
	}
	return decodeItem(newest)
}

// write writes to a majority of the key's owners, whatever was there.
func (d *database) write(ctx context.Context, key string, it item) error {
	_, err := d.store.Put(ctx, key, it.append(nil), quorum.Version{})
	return explain("write", err)
}

// Edit carries out one edit after the other. An error leaves those before it
// done.
func (d *database) Edit(ctx context.Context, edits ...edit) ([]outcome, error) {
	outcomes := make([]outcome, len(edits))
	for i, e := range edits {
		var err error
		if outcomes[i], err = d.edit(ctx, e); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

// edit has the key's decider carry out an edit. An owner that cannot be reached
// is passed over. It may have carried the edit out all the same: the tag tells
// the next one.
func (d *database) edit(ctx context.Context, e edit) (outcome, error) {
	if err := e.check(); err != nil {
		return outcome{}, err
	}
	if e.blind() {
		return outcome{done: true}, d.write(ctx, e.key, e.item)
	}
	e.item.tag = max(1, rand.Uint64())
	owners := d.ring.Owners(make([]string, 0, quorum.MaxReplicas), e.key, d.replicas)
	what := []string{fmt.Sprintf("NOQUORUM 0 of %d replicas answered, 1 must decide", len(owners))}
	for i, owner := range owners {
		o, err := d.ask(ctx, owner, e, len(owners)-i)
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
func (d *database) ask(ctx context.Context, owner string, e edit, shares int) (outcome, error) {
	if owner == d.transport.Local() {
		return d.decide(ctx, e)
	}
	if deadline, ok := ctx.Deadline(); ok && shares > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
		defer cancel()
	}
	answer, err := d.transport.Call(ctx, owner, editService, e.append(nil))
	if err != nil {
		return outcome{}, err
	}
	o, err := decodeOutcome(answer)
	if err == nil && o.failure != "" {
		return outcome{}, o.failure
	}
	return o, err
}

// serveEdit decides for another node. What it answers is an outcome; an error is
// its failure, which the client is to read.
func (d *database) serveEdit(ctx context.Context, _ string, request []byte) ([]byte, error) {
	e, err := decodeEdit(request)
	if err != nil {
		return nil, err
	}
	o, err := d.decide(ctx, e)
	if err != nil {
		o = outcome{failure: replyError(errorText(err))}
	}
	return o.append(nil), nil
}

// decide carries out an edit while no other edit of the key is under way here.
func (d *database) decide(ctx context.Context, e edit) (outcome, error) {
	unlock, err := d.locks.lock(ctx, e.key)
	if err != nil {
		return outcome{}, replyError(fmt.Sprintf("TRYAGAIN another command holds the key: %v", err))
	}
	defer unlock()
	before, err := d.read(ctx, e.key)
	if err != nil {
		return outcome{}, err
	}
	o, after := e.apply(d.Now(), before)
	switch {
	case !o.done || o.repeated:
		return o, nil
	case e.verb == remove:
		_, err = d.store.Delete(ctx, e.key, quorum.Version{})
		return o, explain("write", err)
	default:
		return o, d.write(ctx, e.key, after)
	}
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
