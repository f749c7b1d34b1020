package ring

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Bounds of a ring. They keep a mistyped number from taking all the memory.
const (
	DefaultVirtualNodes = 128     // of Config.VirtualNodes
	MaxVirtualNodes     = 1 << 16 // of Config.VirtualNodes
	MaxWeight           = 1 << 10 // of Node.Weight
	MaxNodes            = 1 << 20 // in one ring
	MaxPoints           = 1 << 26 // in one ring: sum of Weight times VirtualNodes
)

var (
	// ErrNoNodes says that there is no node to choose from.
	ErrNoNodes = errors.New("ring: no nodes")
	// ErrDuplicate says that a node's name was given twice or is taken.
	ErrDuplicate = errors.New("ring: duplicate node")
	// ErrInvalid says that a value is out of its bounds; the text names the field,
	// the node where it belongs to one, the value and the bounds.
	ErrInvalid = errors.New("ring: invalid")
)

// Config says how a [Ring] is built. The zero value is a good default. All
// members of a cluster must use the same.
type Config struct {
	// VirtualNodes is the number of points that a node of weight 1 has on the
	// ring: 1 to MaxVirtualNodes, default DefaultVirtualNodes. A node's share of
	// the keys deviates from its fair one by about 1/sqrt(2 VirtualNodes), 6% at
	// the default; memory (12 to 16 bytes a point) and the time of a change grow
	// with it.
	VirtualNodes int
}

// A Node is a member of a [Ring].
type Node struct {
	// Name identifies the node; it must not be empty, and it alone decides where
	// the node's points lie.
	Name string
	// Zone is what may fail at once, such as a rack or an availability zone.
	// [Ring.Owners] spreads over zones. Nodes without one share the zone "".
	Zone string
	// Weight is the node's share relative to the others: 1 to MaxWeight, and 0
	// means 1. Raising it moves keys only to the node, lowering it only away.
	Weight int
}

func (c Config) virtualNodes() (int, error) {
	if c.VirtualNodes == 0 {
		return DefaultVirtualNodes, nil
	}
	if c.VirtualNodes < 0 || c.VirtualNodes > MaxVirtualNodes {
		return 0, fmt.Errorf("%w: Config.VirtualNodes is %d, want 1 to %d, or 0 for %d",
			ErrInvalid, c.VirtualNodes, MaxVirtualNodes, DefaultVirtualNodes)
	}
	return c.VirtualNodes, nil
}

// normalize checks nodes and returns a copy with weights filled in, sorted by
// name.
func normalize(nodes []Node, virtual int) ([]Node, error) {
	if len(nodes) > MaxNodes {
		return nil, fmt.Errorf("%w: %d nodes, want at most %d", ErrInvalid, len(nodes), MaxNodes)
	}
	sorted := slices.Clone(nodes)
	points := 0
	for i := range sorted {
		n := &sorted[i]
		if n.Name == "" {
			return nil, fmt.Errorf("%w: Node.Name of node %d is empty", ErrInvalid, i)
		}
		if n.Weight < 0 || n.Weight > MaxWeight {
			return nil, fmt.Errorf("%w: Node.Weight of %q is %d, want 1 to %d, or 0 for 1",
				ErrInvalid, n.Name, n.Weight, MaxWeight)
		}
		n.Weight = max(n.Weight, 1)
		if points += n.Weight * virtual; points > MaxPoints {
			return nil, fmt.Errorf("%w: sum of Node.Weight times Config.VirtualNodes is %d up to %q, want at most %d",
				ErrInvalid, points, n.Name, MaxPoints)
		}
	}
	slices.SortFunc(sorted, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	for i := range max(len(sorted)-1, 0) {
		if sorted[i].Name == sorted[i+1].Name {
			return nil, fmt.Errorf("%w: %q", ErrDuplicate, sorted[i].Name)
		}
	}
	return sorted, nil
}
