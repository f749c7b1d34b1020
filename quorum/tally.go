package quorum

import (
	"math/bits"
	"slices"
)

// MaxReplicas bounds Config.N.
const MaxReplicas = 9

// An ack is what one owner of a key says of it. It is a statement about one
// life of the replica, its incarnation; recovery.go has the reason why the
// others must have met that life.
type ack struct {
	incarnation uint64
	known       [MaxReplicas]uint64 // lives of the other owners that it has met, by position; 0: none
	readable    bool                // it has everything that was acknowledged before it started
	record      Record              // what it holds; Version alone, unless the value was asked for
}

// A tally collects the answers of a key's owners and decides when they are
// enough. It is not safe for concurrent use.
type tally struct {
	acks    []ack // by position of the owner, valid where the bit in heard is set
	errs    []error
	heard   uint16 // owners that have answered
	failed  uint16 // owners that will not
	pending int    // owners that may still answer
}

func newTally(owners int) tally {
	return tally{acks: make([]ack, owners), errs: make([]error, owners), pending: owners}
}

// clone returns a tally that shares nothing with t but the values of records.
func (t *tally) clone() tally {
	c := *t
	c.acks, c.errs = slices.Clone(t.acks), slices.Clone(t.errs)
	return c
}

// answer takes the answer or the failure of the owner at position i.
func (t *tally) answer(i int, a ack, err error) {
	t.pending--
	if err != nil {
		t.errs[i] = err
		t.failed |= 1 << i
		return
	}
	t.acks[i] = a
	t.heard |= 1 << i
}

// ask takes back what the owner at position i said: it is asked again.
func (t *tally) ask(i int) {
	if (t.heard|t.failed)&(1<<i) != 0 {
		t.pending++
	}
	t.heard &^= 1 << i
	t.failed &^= 1 << i
	t.errs[i] = nil
}

// A verdict says whether the answers so far are enough.
type verdict uint8

const (
	open    verdict = iota // more answers may decide
	reached                // enough
	short                  // there cannot be enough any more
)

func decide(have, pending, need int) verdict {
	switch {
	case have >= need:
		return reached
	case have+pending < need:
		return short
	}
	return open
}

// readable counts the answers of replicas that count for reads.
func (t *tally) readable() int {
	n := 0
	for i := range t.acks {
		if t.heard&(1<<i) != 0 && t.acks[i].readable {
			n++
		}
	}
	return n
}

// newest returns the newest record that an owner has answered with.
func (t *tally) newest() Record {
	var newest Record
	for i := range t.acks {
		if t.heard&(1<<i) != 0 && t.acks[i].record.Version.Compare(newest.Version) > 0 {
			newest = t.acks[i].record
		}
	}
	return newest
}

// behind reports whether the owner at position i has answered with something
// older than v.
func (t *tally) behind(i int, v Version) bool {
	return t.heard&(1<<i) != 0 && t.acks[i].record.Version.Compare(v) < 0
}

// holds reports whether the owner at position i has answered with v or newer.
func (t *tally) holds(i int, v Version) bool {
	return t.heard&(1<<i) != 0 && t.acks[i].record.Version.Compare(v) >= 0
}

// holders returns how many owners hold v or something newer, counting only
// replicas whose present lives have met one another: the largest such group.
func (t *tally) holders(v Version) int {
	var holding uint16
	for i := range t.acks {
		if t.holds(i, v) {
			holding |= 1 << i
		}
	}
	var met [MaxReplicas]uint16
	all := true
	for i := range t.acks {
		if holding&(1<<i) == 0 {
			continue
		}
		for j := range t.acks {
			if holding&(1<<j) != 0 && t.met(i, j) {
				met[i] |= 1 << j
			}
		}
		all = all && met[i] == holding
	}
	if all {
		return bits.OnesCount16(holding)
	}
	return largestGroup(holding, &met)
}

// met reports whether the lives that two owners answered from know each other.
func (t *tally) met(i, j int) bool {
	a, b := &t.acks[i], &t.acks[j]
	return i == j || a.known[j] == b.incarnation && b.known[i] == a.incarnation
}

// largestGroup returns the size of the largest subset of candidates in which
// all have met. There are at most MaxReplicas candidates, hence few hundred
// steps, and those only in the moments after a restart.
func largestGroup(candidates uint16, met *[MaxReplicas]uint16) int {
	if candidates == 0 {
		return 0
	}
	i := bits.TrailingZeros16(candidates)
	rest := candidates &^ (1 << i)
	return max(1+largestGroup(rest&met[i], met), largestGroup(rest, met))
}

// shortOfReaders describes a tally with too few readable answers. cause is what
// ended the wait, if something did.
func (t *tally) shortOfReaders(owners []string, wanted int, cause error) *ShortError {
	return t.shortage(owners, wanted, t.readable(), cause, func(i int) error {
		if t.acks[i].readable {
			return nil
		}
		return ErrRecovering
	})
}

// shortOfHolders describes a tally with too few holders of v.
func (t *tally) shortOfHolders(owners []string, wanted int, v Version, cause error) *ShortError {
	holders := t.holders(v)
	return t.shortage(owners, wanted, holders, cause, func(i int) error {
		if !t.holds(i, v) {
			return errBehind
		}
		for j := range t.acks {
			if t.heard&(1<<j) != 0 && !t.met(i, j) {
				return ErrSuperseded
			}
		}
		return nil
	})
}

// shortage lists the owners that failed, those whose answer did not count, as
// objection says, and those that had not answered when cause ended the wait.
func (t *tally) shortage(owners []string, wanted, answered int, cause error, objection func(i int) error) *ShortError {
	errs := slices.Clone(t.errs)
	for i := range errs {
		switch {
		case t.heard&(1<<i) != 0:
			errs[i] = objection(i)
		case t.failed&(1<<i) == 0 && cause != nil:
			errs[i] = errNoAnswer
		}
	}
	return &ShortError{Wanted: wanted, Of: len(owners), Answered: answered, Failed: nodeErrors(owners, errs), Cause: cause}
}
