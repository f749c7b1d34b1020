package raft

import "encoding/binary"

// A frame is a run of commands as they travel: room for the head of a message,
// and behind it the entries, encoded by those who propose them. The leader's log,
// the message and, where the transport shares, the logs of the followers refer to
// this memory: a command is copied once.
type frame struct {
	memory  []byte
	room    int // for the head; 0: it is never sealed
	entries int
	cut     bool // from the slab, which gets back what is not used

	// Of a frame whose entries are in the log.
	first uint64 // index
	term  uint64
	body  []byte // the message, once its head is written
}

// maxFrame is the most memory that frames are cut from, but for a command that is
// larger. It takes batches that are larger than maxSlab to get there.
const maxFrame = 256 << 10

// headRoom returns how many bytes the head of an append takes at most.
func headRoom(group string) int {
	return 1 + 2 + len(group) + 2 + 6*binary.MaxVarintLen64 + 2*binary.MaxVarintLen32
}

// encode appends a command to the frame that fills, or to a new one, and returns
// where its data stands.
func (o *orders) encode(s *slab, room int, kind EntryKind, data []byte) []byte {
	head := entryHeadOf(kind, len(data))
	need := uvarintLen(head) + len(data)
	if n := len(o.frames); n == 0 || cap(o.frames[n-1].memory)-len(o.frames[n-1].memory) < need {
		o.endFrame(s)
		most := max(maxSlab, cap(*s))
		if n > 0 {
			most = maxFrame
		}
		o.frames = append(o.frames, newFrame(s, most, room, need))
	}
	f := &o.frames[len(o.frames)-1]
	f.memory = binary.AppendUvarint(f.memory, head)
	start := len(f.memory)
	f.memory = append(f.memory, data...)
	f.entries++
	if len(data) == 0 {
		return nil // as for all who decode it
	}
	return f.memory[start:len(f.memory):len(f.memory)]
}

// newFrame returns a frame with room for a head and need bytes, or more.
func newFrame(s *slab, most, room, need int) frame {
	if room+need >= maxFrame/4 {
		return frame{memory: make([]byte, room, room+need), room: room}
	}
	rest := s.room(room+need, most)
	return frame{memory: rest[:room], room: room, cut: true}
}

// endFrame takes what the frame that fills has used off the slab.
func (o *orders) endFrame(s *slab) {
	if n := len(o.frames); n > 0 && o.frames[n-1].cut {
		f := &o.frames[n-1]
		*s = (*s)[:len(*s)+len(f.memory)]
		f.memory = f.memory[:len(f.memory):len(f.memory)]
		f.cut = false
	}
}

// seal makes the frame a message like m, which holds the first of its entries at
// least, and returns its body. The head is written at the front of its room, and
// moved to the end.
func (f *frame) seal(group string, m *message) []byte {
	head := append(f.memory[:0], wireVersion)
	head = appendHead(head, group, m)
	head = binary.AppendUvarint(head, uint64(f.entries))
	head = binary.AppendUvarint(head, uint64(len(f.memory)-f.room))
	f.body = f.memory[f.room-len(head):]
	copy(f.body, head)
	return f.body
}

// frameOf returns the frame that holds just the entries of a run of messages to
// one peer, nil if there is none that may still be sealed.
func (n *Node) frameOf(run []message) *frame {
	for i := range n.frames {
		f := &n.frames[i]
		if f.first == run[0].Index+1 {
			if f.room > 0 && f.body == nil && f.covers(run) {
				return f
			}
			break
		}
	}
	return nil
}

// covers reports whether the messages are appends of one term that follow each
// other, hold all entries, and say the same otherwise.
func (f *frame) covers(run []message) bool {
	next := f.first
	for i := range run {
		m := &run[i]
		if m.Kind != msgAppend || m.Term != f.term || m.Index+1 != next || m.Commit != run[0].Commit || m.Round != run[0].Round {
			return false
		}
		next += uint64(len(m.Entries))
	}
	return next == f.first+uint64(f.entries)
}
