package vclock

import (
	"cmp"
	"strings"
)

// A Dot names one event: the Counter-th of Node. Dots are comparable with ==,
// and may be keys of a map. The zero Dot names none.
type Dot struct {
	Node    string // who made the event, at most MaxName bytes
	Counter uint64 // 1 for the first event of Node
}

// Compare orders dots by node, and those of one node by age, as -1, 0 or +1. The
// order of different nodes says nothing about cause and effect.
func (d Dot) Compare(e Dot) int {
	return cmp.Or(strings.Compare(d.Node, e.Node), cmp.Compare(d.Counter, e.Counter))
}

// String returns the dot in its text form, such as a=3.
func (d Dot) String() string { return string(appendDotText(nil, d.Node, d.Counter)) }
