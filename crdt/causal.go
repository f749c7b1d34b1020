package crdt

import (
	"slices"

	"github.com/parley-go/parley/vclock"
)

// A store is what a causal type holds, by dots: the part of it that can be put
// into a map. The context stands outside, and is one for all of a state.
type store interface {
	fresh() store // an empty one of the same type
	// join takes in another store of the same type, or nil, which holds nothing.
	join(other store, how *joining) (changed bool)
	live() bool                      // whether there is a dot
	dots(yield func(dot vclock.Dot)) // all of them, in no particular order
	// kill removes everything. gone, a fresh one, is made to mention it.
	kill(gone store)
	append(b []byte, c *context) ([]byte, error)
	read(r *reader, c *context, delta bool)
}

// causal is what the types have in common that know the past of their changes:
// MVRegister, EWFlag, DWFlag, ORSet, RWSet and ORMap.
type causal struct {
	root  *root // nil in a zero value
	store store // nil in a zero value
	in    *visit
}

// A root is what a state has once, and shares with what is nested in it.
type root struct {
	owner   *owner  // who changes it; nil for nobody
	context context // every dot in the store is in it
	delta   bool    // the store mentions whatever the context has removed
}

// An owner is the replica whose state it is.
type owner struct {
	name  string
	reuse reuse
}

func (r *root) name() string {
	if r.owner == nil {
		return ""
	}
	return r.owner.name
}

// A visit is an ORMap.Update under way, in which a nested value may be changed.
type visit struct {
	record *causal // where the deltas gather; nil when the visit is over
}

func newCausal(name string, s store) causal {
	r := new(root)
	if name != "" {
		r.owner = &owner{name: name}
	}
	return causal{root: r, store: s}
}

// newDelta returns an empty delta around a store.
func newDelta(s store) causal { return causal{root: &root{delta: true}, store: s} }

// mutable ends the program unless the state may be changed here.
func (c *causal) mutable() {
	if c.in != nil && c.in.record == nil {
		refuse(outside)
	}
	if c.root == nil || c.root.owner == nil {
		refuse(nobody)
	}
}

// issue returns the dot of a new change.
func (c *causal) issue() vclock.Dot {
	c.mutable()
	c.root.owner.reuse.issued = true
	return c.root.context.next(c.root.owner.name)
}

// done hands a delta to the map around, if there is one.
func (c *causal) done(delta *causal) {
	if c.in != nil {
		c.in.record.merge(delta)
	}
}

// mergeStanding is merge for a state that stands by itself.
func (c *causal) mergeStanding(other *causal) (changed bool) {
	if c.in != nil {
		refuse("a value inside a map is merged with its map")
	}
	return c.merge(other)
}

func (c *causal) merge(other *causal) (changed bool) {
	if other.store == nil || c.store == other.store {
		return false
	}
	if c.store == nil {
		c.root, c.store = new(root), other.store.fresh()
	}
	r := c.root
	if o := r.owner; o != nil {
		o.reuse.saw(r.context.top(o.name), other.root.context.top(o.name))
	}
	how := joining{
		ours:   &r.context,
		theirs: &other.root.context,
		// One that has seen nothing has seen nothing removed.
		whole: !other.root.delta && (len(other.root.context.replicas) > 0 || r.delta),
		delta: r.delta && other.root.delta,
	}
	changed = c.store.join(other.store, &how)
	r.delta = how.delta
	return r.context.merge(&other.root.context) || changed
}

// Err returns a *ReuseError once a merge has shown that this replica went on from
// an old state of its name, and nil otherwise. It does not tell all such cases: only
// those of which a trace comes back.
func (c *causal) Err() error {
	if c.root == nil || c.root.owner == nil {
		return nil
	}
	return c.root.owner.reuse.err(c.root.owner.name)
}

// Seen returns, for each replica, up to which of its changes all are known here,
// whether by name or as removed. Beyond the first that is missing, others may be
// known as well. Removals are no changes in this sense: they have no dot of their
// own, unless they win.
func (c *causal) Seen() vclock.Clock {
	if c.root == nil {
		return vclock.Clock{}
	}
	return c.root.context.clock()
}

// Prune forgets the replicas that keep refuses, and returns how many they were.
// The replica itself stays, and so do those of which something is still held.
//
// It has a price: what a forgotten replica had made and somebody removed comes
// back with any state that still has it. So prune a name only when it makes no
// more changes and is never used again, when every replica has seen all of its
// changes and all that others removed of them, and when every replica prunes it,
// while no state, delta or backup from before is merged into one from after.
func (c *causal) Prune(keep func(replica string) bool) (pruned int) {
	if c.root == nil || c.in != nil {
		return 0
	}
	held := map[string]bool{c.root.name(): true}
	c.store.dots(func(dot vclock.Dot) { held[dot.Node] = true })
	before := len(c.root.context.replicas)
	c.root.context.replicas = slices.DeleteFunc(c.root.context.replicas, func(r replica) bool { return !held[r.name] && !keep(r.name) })
	return before - len(c.root.context.replicas)
}

// clear removes everything and returns the delta.
func (c *causal) clear() causal {
	c.mutable()
	d := newDelta(c.store.fresh())
	d.root.context.cover(c.store)
	c.store.kill(d.store)
	c.done(&d)
	return d
}

// cover adds all dots of a store, in order, which takes the least time.
func (c *context) cover(s store) {
	var all []vclock.Dot
	s.dots(func(dot vclock.Dot) { all = append(all, dot) })
	slices.SortFunc(all, vclock.Dot.Compare)
	for _, dot := range all {
		c.add(dot)
	}
}

// encode appends the encoding; empty stands in for the store of a zero value.
func (c *causal) encode(b []byte, kind byte, empty store) ([]byte, error) {
	r, s := c.root, c.store
	if s == nil {
		r, s = new(root), empty
	}
	delta := byte(0)
	if r.delta {
		delta = 1
	}
	out, err := r.context.append(append(b, format, kind, delta))
	if err == nil {
		out, err = s.append(out, &r.context)
	}
	if err != nil {
		return b, err
	}
	return out, nil
}

// decode sets c to what encode wrote, with the store in into.
func (c *causal) decode(data []byte, kind byte, into store) error {
	if c.in != nil {
		refuse(inside)
	}
	r := newReader(data, kind)
	decoded := &root{delta: r.flag()}
	decoded.context = readContext(r)
	into.read(r, &decoded.context, decoded.delta)
	if err := r.end(); err != nil {
		return err
	}
	c.root, c.store = decoded, into
	return nil
}
