package raft

// Slabs are cut into small pieces of memory that live about equally long, so that
// an entry costs no allocation of its own. A piece keeps its slab alive: entries
// of one time go at one time, when the log is compacted. Slabs begin small, for
// the sake of groups that are idle.
const minSlab, maxSlab = 1 << 10, 64 << 10

// A slab is the memory that copies are cut from. The zero value is ready to use.
type slab []byte

// copy returns a copy of b; nil if it is empty.
func (s *slab) copy(b []byte) []byte {
	n := len(b)
	if n == 0 {
		return nil
	}
	if n >= maxSlab/4 { // gets memory of its own
		return append([]byte(nil), b...) // which does not clear it first
	}
	s.room(n, maxSlab)
	start := len(*s)
	*s = append(*s, b...)
	return (*s)[start:len(*s):len(*s)]
}

// room returns the memory that is left, at least n bytes. It stays the slab's until
// somebody moves its end.
func (s *slab) room(n, most int) []byte {
	if cap(*s)-len(*s) < n {
		*s = make([]byte, 0, max(minSlab, n, min(2*cap(*s), most)))
	}
	return (*s)[len(*s):]
}
