package ring

import "sync"

// A Directory places single keys where it is told, and the others as another
// Partitioner does. It suits what has to lie in one place by decision: a large
// tenant, a key pinned for its latency, a key whose move is under way. It holds
// one map entry for each key assigned, in parts with a lock each, so that
// readers rarely meet a writer. Make one with [NewDirectory]; it must not be
// copied.
type Directory struct {
	rest  Partitioner
	parts [directoryParts]directoryPart
}

const directoryParts = 64

type directoryPart struct {
	mu    sync.RWMutex
	nodes map[string]string // by key; guarded by mu
}

// NewDirectory returns an empty Directory. rest places the keys that are not
// assigned; nil leaves them to nobody.
func NewDirectory(rest Partitioner) *Directory { return &Directory{rest: rest} }

// Owner returns the node that a key is assigned to, or else the one that the
// other Partitioner gives it. Takes some 40 ns and the other's time.
func (d *Directory) Owner(key string) (name string, ok bool) {
	p := d.part(key)
	p.mu.RLock()
	name, ok = p.nodes[key]
	p.mu.RUnlock()
	if ok || d.rest == nil {
		return name, ok
	}
	return d.rest.Owner(key)
}

// Assign gives a key to a node, whoever had it.
func (d *Directory) Assign(key, node string) {
	p := d.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes == nil {
		p.nodes = make(map[string]string)
	}
	p.nodes[key] = node
}

// Unassign leaves a key to the other Partitioner and reports whether it was
// assigned.
func (d *Directory) Unassign(key string) bool {
	p := d.part(key)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, was := p.nodes[key]
	delete(p.nodes, key)
	return was
}

// Len returns the number of keys assigned.
func (d *Directory) Len() int {
	n := 0
	for i := range d.parts {
		p := &d.parts[i]
		p.mu.RLock()
		n += len(p.nodes)
		p.mu.RUnlock()
	}
	return n
}

func (d *Directory) part(key string) *directoryPart { return &d.parts[Hash(key)%directoryParts] }
