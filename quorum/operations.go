package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/bits"
)

// A Value is what a read found.
type Value struct {
	// Siblings are the values of the key: none if it was never written or was
	// deleted, else one. (Stores that keep concurrent writes apart have more.)
	// They belong to the caller.
	Siblings [][]byte
	// Version is that of the write that was found, also if it was a deletion;
	// zero if the key was never written.
	Version Version
}

// Newest returns the newest value; ok is false if there is none.
func (v Value) Newest() (value []byte, ok bool) {
	if len(v.Siblings) == 0 {
		return nil, false
	}
	return v.Siblings[0], true
}

// A Read changes a single Get.
type Read struct {
	// R is the number of owners that answer: 1 to N, default Config.R. With
	// R+W <= N the read may miss the newest write and go back behind an
	// earlier read.
	R int
	// DisableWriteBack returns what was found without waiting until W owners
	// hold it. The newest acknowledged write is still seen, but while a write is
	// under way, or after one that failed, a read may go back behind an earlier
	// one. It lets a read succeed while fewer than W owners are there.
	DisableWriteBack bool
}

// Get reads a key. A key that has no value is not an error: the Value has no
// Siblings then.
//
// With R+W > N a read sees the newest write that was acknowledged before it
// began, and what it has seen every later read sees, too (Attiya, Bar-Noy,
// Dolev, "Sharing Memory Robustly in Message-Passing Systems", 1995): together
// with Put's side of it, reads and writes of one key are linearizable. To that
// end, what is found on fewer than W owners is brought to W before Get returns.
// Owners that are behind are repaired, those beyond W in the background.
//
// It takes one round trip, two if it has to write back. Errors: a *ShortError;
// ErrInvalid for the key or the Read; ErrClosed; or the error of ctx, if it had
// ended already.
func (s *Store) Get(ctx context.Context, key string, read ...Read) (Value, error) {
	how, err := s.checkRead(key, read)
	if err != nil {
		return Value{}, err
	}
	if err := s.enter(ctx); err != nil {
		return Value{}, err
	}
	defer s.wg.Done()
	s.stats.reads.Add(1)
	record, err := s.read(ctx, key, how)
	if err != nil {
		s.stats.failed.Add(1)
		return Value{}, err
	}
	value := Value{Version: record.Version}
	if !record.Version.IsZero() && !record.Deleted {
		// Repairs in the background go on with the record.
		value.Siblings = [][]byte{bytes.Clone(record.Value)}
	}
	return value, nil
}

func (s *Store) checkRead(key string, read []Read) (Read, error) {
	if err := checkKey(key); err != nil {
		return Read{}, err
	}
	var how Read
	switch len(read) {
	case 0:
	case 1:
		how = read[0]
	default:
		return Read{}, fmt.Errorf("%w: %d Reads were given, at most 1 is taken", ErrInvalid, len(read))
	}
	how.R = orDefault(how.R, s.config.R)
	if how.R < 1 || how.R > s.config.N {
		return Read{}, fmt.Errorf("%w: Read.R is %d, it must be 1 to N, %d", ErrInvalid, how.R, s.config.N)
	}
	if how.R+s.config.W <= min(s.config.N, s.table.Len()) {
		how.DisableWriteBack = true
	}
	return how, nil
}

func (s *Store) read(ctx context.Context, key string, how Read) (Record, error) {
	owners := s.owners(make([]string, 0, s.config.N), key)
	round := s.ask(request{op: opGet, key: key}, owners, newTally(len(owners)), func(t *tally) verdict {
		v := decide(t.readable(), t.pending, how.R)
		answers := bits.OnesCount16(t.heard)
		if v == reached && !how.DisableWriteBack && !t.newest().Version.IsZero() && decide(answers, t.pending, s.config.W) == open {
			return open // writing back would need W answers; these may already do
		}
		return v
	})
	t, v, cause := round.wait(ctx)
	if v != reached {
		round.cancel()
		return Record{}, t.shortOfReaders(owners, how.R, cause)
	}
	newest := t.newest()
	if newest.Version.IsZero() {
		round.cancel()
		return newest, nil
	}
	if !how.DisableWriteBack && t.holders(newest.Version) < s.config.W {
		round.cancel()
		s.stats.writtenBack.Add(1)
		return newest, s.spread(ctx, request{op: opRepair, key: key, record: newest}, owners, t)
	}
	for _, i := range round.settle(newest) {
		s.repairLater(owners[i], key, newest)
	}
	round.detach()
	return newest, nil
}

// Put writes a value and returns its version. version is what the writer had
// read, zero if nothing: the write becomes newer than it. Of concurrent writes
// the one with the newer version wins; that is no compare-and-set, for which
// there has to be consensus (package raft).
//
// A nil error means that W owners hold the write, or a newer one that was under
// way at the same time, and that it is newer than every write that was
// acknowledged before it began, whatever the clocks say. An error that matches
// ErrUncertain means that the write was sent and may be found later, or never;
// after any other error it was not sent. Writing again is safe.
//
// It takes two round trips: one to learn which versions there are, one to
// write. value is not used after Put returns.
//
// Errors: a *ShortError; a *SkewError if version is too far in the future;
// ErrInvalid for the key or the value; ErrClosed; or the error of ctx, if it
// had ended already.
func (s *Store) Put(ctx context.Context, key string, value []byte, version Version) (Version, error) {
	return s.write(ctx, key, Record{Value: value}, version)
}

// Delete writes that the key has no value; all else is as for Put. The
// tombstone that it leaves, about the size of the key, is kept for ever: if it
// were dropped before every replica had seen it, the value could come back.
func (s *Store) Delete(ctx context.Context, key string, version Version) (Version, error) {
	return s.write(ctx, key, Record{Deleted: true}, version)
}

func (s *Store) write(ctx context.Context, key string, record Record, floor Version) (Version, error) {
	if err := errors.Join(checkKey(key), checkValue(record.Value)); err != nil {
		return Version{}, err
	}
	if err := s.enter(ctx); err != nil {
		return Version{}, err
	}
	defer s.wg.Done()
	s.stats.writes.Add(1)
	owners := s.owners(make([]string, 0, s.config.N), key)
	version, held, err := s.propose(ctx, key, owners, floor)
	if err != nil {
		s.stats.failed.Add(1)
		return Version{}, err
	}
	record.Version = version
	q := request{op: opPut, key: key, record: record}
	if version.Time == held.Time {
		// No further ahead than what some replica holds already. If that is too
		// far, the mistake is an old one, and the key has to stay writable.
		q.op = opRepair
	}
	err = s.spread(ctx, q, owners, newTally(len(owners)))
	var short *ShortError
	if errors.As(err, &short) {
		short.Uncertain = true
	}
	if err != nil {
		s.stats.failed.Add(1)
		return Version{}, err
	}
	return version, nil
}

// propose makes a version above floor and above that of every write that has
// been acknowledged so far: so many owners are asked that one of them has it.
// held is the newest that they hold.
func (s *Store) propose(ctx context.Context, key string, owners []string, floor Version) (v, held Version, err error) {
	need := len(owners) - s.config.W + 1
	round := s.ask(request{op: opVersion, key: key}, owners, newTally(len(owners)), func(t *tally) verdict {
		return decide(t.readable(), t.pending, need)
	})
	defer round.cancel()
	t, got, cause := round.wait(ctx)
	if got != reached {
		return Version{}, Version{}, t.shortOfReaders(owners, need, cause)
	}
	held = t.newest().Version
	now := s.now()
	if floor.Time > held.Time {
		if err := checkSkew(now, floor, s.config.MaxSkew); err != nil {
			return Version{}, Version{}, err
		}
	}
	if floor.Compare(held) < 0 {
		floor = held
	}
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	return s.clock.next(now, floor), held, nil
}

// spread brings a record to those owners that, by the tally, do not hold it,
// and returns once W of them do. The others go on in the background.
func (s *Store) spread(ctx context.Context, q request, owners []string, t tally) error {
	v := q.record.Version
	for i := range owners {
		if !t.holds(i, v) {
			t.ask(i)
		}
	}
	round := s.ask(q, owners, t, func(t *tally) verdict {
		return decide(t.holders(v), t.pending, s.config.W)
	})
	t, got, cause := round.wait(ctx)
	round.detach()
	if got != reached {
		return t.shortOfHolders(owners, s.config.W, v, cause)
	}
	return nil
}

// repair brings a record to one owner that was seen to hold an older one. What
// the owner holds by then it compares itself.
func (s *Store) repair(ctx context.Context, owner, key string, record Record) {
	owners := [1]string{owner}
	q := request{op: opRepair, key: key, record: record}
	if _, err := s.askOwner(ctx, owners[:], 0, &q, q.append(nil)); err == nil {
		s.stats.repaired.Add(1)
	}
}

// repairLater repairs in the background, if there is room.
func (s *Store) repairLater(owner, key string, record Record) {
	if !s.reserve() {
		return
	}
	s.wg.Go(func() {
		defer s.background.Add(-1)
		ctx, cancel := context.WithTimeout(s.base, s.config.Timeout)
		defer cancel()
		s.repair(ctx, owner, key, record)
	})
}
