package quorum

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// This file is the core of coming back without data. What it has to guarantee:
//
// A write that W owners of a key have acknowledged is seen by every later read,
// although fewer than W of these owners lose their data at a time.
//
// A replica without data is recovering. It takes writes and counts for them,
// but not for reads, until it has copied the key's range from the other owners.
// There are n-1 of them, and W-1 of them acknowledged the write, so among any
// n-W+1 there is one that did. If these n-W+1 were complete, they had nothing to
// copy themselves. If all other members have been copied, owners of the key or
// not, it does not matter what state they were in: there is no more to be had.
// (So a cluster starts for the first time. The other owners alone would not
// do: after a change of the ring they may all be new to the key.)
//
// One gap is left. Replica A acknowledges write w, loses its data, starts again
// and copies from B before w gets to B; then B acknowledges. The coordinator
// has two acknowledgements of w, and w is on one replica. Hence every life of a
// replica has a number, its incarnation, and
//
//   - a replica must meet another before it copies from it: it says which life
//     it is, and the other remembers that before it gives out the first page;
//   - an introduction says which life of the replica the other is thought to
//     know so far, and is refused if that is not so: a late one, from a life that
//     is over, never takes the place of a later life, whatever the clocks that
//     numbered them said;
//   - an acknowledgement says from which life it is, and which lives of the
//     key's other owners the replica has met, read after the write was stored;
//   - acknowledgements count together only if each is from the life that the
//     other has met.
//
// Had B been copied before it stored w, it would have met A's new life by the
// time it acknowledged, and A's acknowledgement is from the old one. Had B
// itself restarted in between, then it has met either no life of A or, since it
// restarted, the old one; but then the new one copied from B after that, and B
// had met it first. Not having met does not count, so a life that others
// have not met yet is of no use for writes, and no harm.

// A copyState says what was copied from a peer.
type copyState uint8

const (
	copiedNothing copyState = iota
	copiedPartly            // everything it had, but it was itself recovering
	copiedWhole             // everything, and it was complete when that began
)

// A peer is another member, as the recovery of this node sees it.
type peer struct {
	name   string
	known  uint64 // its life that we have met last; 0: none
	met    bool   // it has met our present life
	knows  uint64 // our life that it said it has met last; 0: none
	copied copyState
	cursor string // the last key copied; "" before the first page

	// Of the copy that is under way: the source's life, and whether it was
	// complete when the copy began.
	source   uint64
	complete bool
}

// recovery is what one node knows about its own life and those of the others.
// It is a value without locks; the store changes it one step at a time.
type recovery struct {
	incarnation uint64
	complete    bool   // everything is here: counts for reads of every key
	peers       []peer // in the order of their names
	writes      int    // W
	placement   uint64 // stands for which node owns which keys
}

// newRecovery returns the state of a node that starts. saved is what encode
// returned before, nil for a node without data; fresh numbers a new life.
func newRecovery(peers []string, writes int, placement uint64, saved []byte, fresh uint64) (*recovery, error) {
	r := &recovery{incarnation: fresh, writes: writes, placement: placement}
	for _, name := range slices.Sorted(slices.Values(peers)) {
		r.peers = append(r.peers, peer{name: name})
	}
	if len(saved) > 0 {
		if err := r.decode(saved); err != nil {
			return nil, err
		}
	}
	r.update()
	return r, nil
}

// newIncarnation numbers a life. It need only differ from those of the node's
// other lives: by their time, or by luck.
func newIncarnation(now int64, draw uint64) uint64 {
	millis := uint64(max(now, 0)) / uint64(time.Millisecond)
	return (millis+1)<<20 | draw>>44
}

func (r *recovery) find(name string) *peer {
	i, ok := slices.BinarySearchFunc(r.peers, name, func(p peer, name string) int { return strings.Compare(p.name, name) })
	if !ok {
		return nil
	}
	return &r.peers[i]
}

// An errand is what there is to do with one peer.
type errand uint8

const (
	rest     errand = iota // nothing, as far as is known now
	meet                   // tell it our incarnation
	copyPage               // ask for the next page
	save                   // try again to save the state
)

// finished reports whether there is nothing left to do with any peer, now or
// later.
func (r *recovery) finished() bool {
	return r.complete && !slices.ContainsFunc(r.peers, func(p peer) bool { return !p.met })
}

// next returns what to do with a peer.
func (r *recovery) next(name string) errand {
	p := r.find(name)
	switch {
	case !p.met:
		return meet
	case !r.complete && p.copied != copiedWhole:
		return copyPage
	}
	return rest
}

// introduced takes the introduction of a peer's life, made by who knew that
// previous was the one met before: a late one changes nothing.
func (r *recovery) introduced(name string, incarnation, previous uint64) bool {
	p := r.find(name)
	if p == nil || incarnation == 0 || p.known != incarnation && p.known != previous {
		return false
	}
	p.known = incarnation
	return true
}

// metBy takes a peer's answer to our introduction: it has met us and is itself
// in the life theirs. previous is its life that we had met when we asked.
func (r *recovery) metBy(name string, theirs, previous uint64) bool {
	if !r.introduced(name, theirs, previous) {
		return false
	}
	p := r.find(name)
	p.met, p.knows = true, r.incarnation
	r.update()
	return true
}

// unmet takes a peer's answer that it has not met our present life: it has
// restarted.
func (r *recovery) unmet(name string) { r.find(name).met = false }

// page takes note of a page that has been stored: the source's life and
// whether it is complete, the last key of the page, and whether it was the last
// page. A source that has restarted in between is copied from the beginning.
func (r *recovery) page(name string, source uint64, complete bool, cursor string, last bool) {
	p := r.find(name)
	if p.cursor == "" {
		p.source, p.complete = source, complete
	}
	if p.source != source {
		p.cursor, p.met = "", false
		return
	}
	p.cursor = cursor
	if !last {
		return
	}
	p.cursor = ""
	p.copied = max(p.copied, copiedPartly)
	if p.complete {
		p.copied = copiedWhole
	}
	r.update()
}

// update finds out whether this node is complete: it has copied from all
// others, or so few are missing that of every key's other owners enough have
// been copied whole.
func (r *recovery) update() {
	if r.complete {
		return
	}
	missing, notWhole := 0, 0
	for i := range r.peers {
		if r.peers[i].copied == copiedNothing {
			missing++
		}
		if r.peers[i].copied != copiedWhole {
			notWhole++
		}
	}
	r.complete = missing == 0 || notWhole <= r.writes-2
}

// A standing is what a replica's answers have to say about it: an unchanging
// extract of its recovery.
type standing struct {
	incarnation uint64
	complete    bool
	writes      int             // W
	peers       map[string]peer // by name
}

func (r *recovery) standing() *standing {
	s := &standing{incarnation: r.incarnation, complete: r.complete, writes: r.writes, peers: make(map[string]peer, len(r.peers))}
	for i := range r.peers {
		s.peers[r.peers[i].name] = r.peers[i]
	}
	return s
}

// readable reports whether this node counts for reads of a key with the given
// owners, self among them.
func (s *standing) readable(self string, owners []string) bool {
	if s.complete {
		return true
	}
	whole := 0
	for _, owner := range owners {
		if owner != self && s.peers[owner].copied == copiedWhole {
			whole++
		}
	}
	return whole >= len(owners)-s.writes+1
}

// encode returns what has to outlive a crash: the number of this life, whether
// it is complete, and which lives of others it has met.
func (r *recovery) encode() []byte {
	b := append([]byte{stateFormat}, boolByte(r.complete))
	b = binary.LittleEndian.AppendUint64(b, r.placement)
	b = binary.LittleEndian.AppendUint64(b, r.incarnation)
	b = binary.AppendUvarint(b, uint64(len(r.peers)))
	for i := range r.peers {
		b = appendString(b, r.peers[i].name)
		b = binary.LittleEndian.AppendUint64(b, r.peers[i].known)
	}
	return b
}

// decode takes over what encode returned. Where the placement of keys has
// changed since, the node may own what it does not have, and is not complete.
func (r *recovery) decode(b []byte) error {
	in := reader{rest: b}
	if in.byte() != stateFormat {
		in.fail()
	}
	complete := in.bool()
	placement := in.uint64()
	incarnation := in.uint64()
	for range in.uvarint() {
		name, known := in.string(maxName), in.uint64()
		if in.err != nil {
			break
		}
		if p := r.find(name); p != nil {
			p.known = known
		}
	}
	if err := in.end(); err != nil {
		return err
	}
	r.complete = complete && placement == r.placement
	r.incarnation = incarnation
	return nil
}
