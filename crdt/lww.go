package crdt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"

	"github.com/parley-go/parley/vclock"
)

// A write is a value, or its removal, with what decides between two of them.
type write[V any] struct {
	stamp   vclock.Stamp
	by      string // the replica; "" if nothing was written
	removed bool   // value is the zero value then
	value   V
}

// beats reports whether a write is the later of two. The stamps decide, then the
// names, for clocks of two replicas may agree. The same of both stands for two
// writes only if a replica used a stamp twice; the order is total all the same, so
// that replicas do not differ for ever: a value beats a removal, and of two values the
// larger in bytes wins. (Values that have no binary form stay as they are.)
func (w *write[V]) beats(x *write[V]) bool {
	if order := cmp.Or(cmp.Compare(w.stamp, x.stamp), strings.Compare(w.by, x.by)); order != 0 {
		return order > 0
	}
	if w.removed || x.removed || w.by == "" {
		return x.removed && !w.removed
	}
	ours, err := appendValue(nil, w.value)
	theirs, err2 := appendValue(nil, x.value)
	return err == nil && err2 == nil && bytes.Compare(ours, theirs) > 0
}

// append appends the number of bytes of the value, and one more, so that 0 is a
// removal.
func (w *write[V]) append(b []byte) ([]byte, error) {
	if err := checkName(w.by); err != nil {
		return b, err
	}
	b = appendBytes(binary.AppendUvarint(b, uint64(w.stamp)), w.by)
	if w.removed {
		return append(b, 0), nil
	}
	form, err := appendValue(nil, w.value)
	if err != nil {
		return b, err
	}
	b = binary.AppendUvarint(b, uint64(len(form))+1)
	return append(b, form...), nil
}

func readWrite[V any](r *reader) (w write[V]) {
	w.stamp = vclock.Stamp(r.number())
	w.by = r.name("")
	n := r.uvarint(0, math.MaxInt64)
	if w.removed = n == 0; !w.removed {
		w.value = readValue[V](r, r.take(n-1))
	}
	return w
}

// LWWRegister is a last-writer-wins register: it holds the value that was written
// with the highest stamp. Of concurrent writes all but one are lost without a trace;
// where that is too much, use an MVRegister.
//
// The stamps should come from a vclock.Hybrid of this replica, or a vclock.Durable,
// that has observed the Stamp of what it overwrites; then a write that knew of another
// wins over it, whatever the clocks say. Of equal stamps the higher replica name
// wins.
//
// Deltas may be lost, repeated and come in any order: each carries the whole state.
// Values are not copied: change none that was put in or taken out. The zero value
// belongs to no replica: it is merged and read. A register is not safe for
// concurrent use, except that any number of goroutines may read it.
//
// The source is Shapiro et al., 2011, section 3.2.1.
type LWWRegister[V any] struct {
	replica string
	write   write[V]
	emit    func(delta *LWWRegister[V]) // in a map
}

// NewLWWRegister returns a register without a value that is changed under the name
// of a replica, of at most MaxName bytes. The name decides between equal stamps; to
// use it again after a restart is safe if the stamps go on rising, as those of a
// vclock.Durable do.
func NewLWWRegister[V any](replica string) *LWWRegister[V] {
	return &LWWRegister[V]{replica: replica}
}

// Set writes a value and returns the delta. A write whose stamp is not above that of
// the register is lost, here as everywhere else.
func (r *LWWRegister[V]) Set(stamp vclock.Stamp, value V) *LWWRegister[V] {
	if r.replica == "" {
		refuse(nobody)
	}
	d := &LWWRegister[V]{write: write[V]{stamp: stamp, by: r.replica, value: value}}
	r.Merge(d)
	return d
}

// Get returns the value and whether there is one.
func (r *LWWRegister[V]) Get() (value V, found bool) { return r.write.value, r.write.by != "" }

// Stamp returns the stamp of the value, 0 if there is none.
func (r *LWWRegister[V]) Stamp() vclock.Stamp { return r.write.stamp }

// Merge takes in another state or delta and reports whether anything changed.
func (r *LWWRegister[V]) Merge(other *LWWRegister[V]) (changed bool) {
	if r.emit != nil {
		r.emit(other)
	}
	if changed = other.write.by != "" && (r.write.by == "" || other.write.beats(&r.write)); changed {
		r.write = other.write
	}
	return changed
}

// AppendBinary appends the encoding of r to b, as ORSet.AppendBinary does.
func (r *LWWRegister[V]) AppendBinary(b []byte) ([]byte, error) {
	out := append(b, format, kindLWWRegister)
	if r.write.by == "" {
		return append(out, 0), nil
	}
	out, err := r.write.append(append(out, 1))
	if err != nil {
		return b, err
	}
	return out, nil
}

// UnmarshalBinary replaces r by what AppendBinary encoded, as
// ORSet.UnmarshalBinary does.
func (r *LWWRegister[V]) UnmarshalBinary(data []byte) error {
	if r.emit != nil {
		refuse(inside)
	}
	in := newReader(data, kindLWWRegister)
	var decoded LWWRegister[V]
	if in.flag() {
		if decoded.write = readWrite[V](in); decoded.write.removed {
			in.fail(corrupt("a removal in a register"))
		}
	}
	if err := in.end(); err != nil {
		return err
	}
	*r = decoded
	return nil
}

// MarshalJSON returns the JSON of the value, null if there is none.
func (r *LWWRegister[V]) MarshalJSON() ([]byte, error) {
	if value, found := r.Get(); found {
		return json.Marshal(value)
	}
	return []byte("null"), nil
}

func (*LWWRegister[V]) fresh() *LWWRegister[V] { return new(LWWRegister[V]) }
func (*LWWRegister[V]) newStore() store        { return new(versions[*LWWRegister[V]]) }

func (*LWWRegister[V]) bind(c *causal) *LWWRegister[V] {
	v := view(c, NewLWWRegister[V](c.root.name()))
	v.emit = func(delta *LWWRegister[V]) { report(c, delta) }
	return v
}
