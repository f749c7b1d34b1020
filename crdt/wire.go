package crdt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Encodings begin with a byte for the format and one for the type. Numbers are
// uvarints in their shortest form; names, elements and values follow their
// length. Whatever has no order of its own is in the order of its bytes, so that
// equal states have equal encodings.
const format = 1

// The types, as the second byte names them. What is stored depends on the
// numbers: they never change.
const (
	kindGCounter = iota + 1
	kindPNCounter
	kindBoundedCounter
	kindLWWRegister
	kindMVRegister
	kindEWFlag
	kindDWFlag
	kindGSet
	kindTwoPhaseSet
	kindLWWSet
	kindORSet
	kindRWSet
	kindLWWMap
	kindORMap
)

func appendBytes[S string | []byte](b []byte, s S) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// checkName refuses names that a decoder would not take.
func checkName(name string) error {
	if n := len(name); n > MaxName {
		return fmt.Errorf("%w: a name of %d bytes, at most %d", ErrTooLarge, n, MaxName)
	}
	return nil
}

func checkReplicas(n int) error {
	if n > MaxReplicas {
		return fmt.Errorf("%w: %d replicas, at most %d", ErrTooLarge, n, MaxReplicas)
	}
	return nil
}

// An item is an element of a set or a key of a map, as the place of its binary form
// among those of all.
type item[V any] struct {
	from, to int
	value    V
}

// appendTable appends a table in the order of the binary forms, with the values as
// appendOne writes them.
func appendTable[K comparable, V any](b []byte, t *table[K, V], appendOne func(b []byte, value V) ([]byte, error)) ([]byte, error) {
	var forms []byte
	var err error
	items := make([]item[V], 0, t.len())
	check := encodesItself[K]()
	for key, value := range t.all() {
		from := len(forms)
		if forms, err = appendKey(forms, key, check); err != nil {
			return b, err
		}
		items = append(items, item[V]{from, len(forms), value})
	}
	slices.SortFunc(items, func(x, y item[V]) int { return bytes.Compare(forms[x.from:x.to], forms[y.from:y.to]) })
	b = binary.AppendUvarint(b, uint64(len(items)))
	for _, i := range items {
		b = appendBytes(b, forms[i.from:i.to])
		if b, err = appendOne(b, i.value); err != nil {
			return b, err
		}
	}
	return b, nil
}

// readTable reads what appendTable wrote, whose values have at least one byte if
// they are not empty structs.
func readTable[K comparable, V any](r *reader, t *table[K, V], readOne func() V) {
	var last []byte
	for i := range r.count(1) {
		form := r.bytes()
		if i > 0 && bytes.Compare(form, last) <= 0 {
			r.fail(corrupt("elements out of order"))
		}
		last = form
		key := readKey[K](r, form)
		value := readOne()
		if _, twice := t.get(key); twice {
			r.fail(corrupt("an element in two forms"))
		}
		if r.err != nil {
			return
		}
		t.put(key, value)
	}
}

// A reader takes values off the front of an encoding. After a failure it returns
// zeros, and keeps the first error.
type reader struct {
	data []byte
	err  error
	last string // the name that was read last; the next is often the same
}

// newReader checks the first two bytes.
func newReader(data []byte, kind byte) *reader {
	r := &reader{data: data}
	if head := r.take(2); r.err == nil && (head[0] != format || head[1] != kind) {
		r.fail(corrupt("format %d of type %d, not %d of %d", head[0], head[1], format, kind))
	}
	return r
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.data = nil
}

// failMention refuses a whole state that mentions something removed, which only
// deltas do.
func (r *reader) failMention() {
	r.fail(corrupt("a whole state mentions what is removed"))
}

// end returns the failure, if any; bytes left over are one.
func (r *reader) end() error {
	if r.err == nil && len(r.data) > 0 {
		r.fail(corrupt("%d bytes left over", len(r.data)))
	}
	return r.err
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.data)) {
		r.fail(corrupt("cut short"))
		return nil
	}
	taken := r.data[:n:n]
	r.data = r.data[n:]
	return taken
}

// uvarint reads a number from low to high, in its shortest form.
func (r *reader) uvarint(low, high uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.data)
	if n <= 0 || v < low || v > high || n > 1 && r.data[n-1] == 0 {
		r.fail(corrupt("a number out of bounds"))
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) number() uint64 { return r.uvarint(0, math.MaxUint64) }
func (r *reader) flag() bool     { return r.uvarint(0, 1) == 1 }

// count reads how many things follow, of at least size bytes each. What does not
// fit into the rest of the data is refused before anything is allocated.
func (r *reader) count(size int) int { return int(r.uvarint(0, uint64(len(r.data)/size))) }

func (r *reader) bytes() []byte { return r.take(r.uvarint(0, math.MaxInt64)) }

// name reads the name of a replica, which is never empty, that comes after
// last.
func (r *reader) name(last string) string {
	form := r.take(r.uvarint(1, MaxName))
	if string(form) != r.last {
		r.last = string(form)
	}
	if r.err == nil && r.last <= last {
		r.fail(corrupt("names out of order"))
	}
	return r.last
}

func readValue[T any](r *reader, form []byte) (v T) {
	if r.err != nil {
		return v
	}
	v, err := decodeValue[T](form)
	if err != nil {
		r.fail(err)
	}
	return v
}

// readKey reads what appendKey wrote.
func readKey[K comparable](r *reader, form []byte) (key K) {
	key = readValue[K](r, form)
	var zero K
	if r.err != nil || key != zero && !unequal(key) {
		return key
	}
	if again, err := appendValue(nil, zero); err != nil || string(again) != string(form) {
		r.fail(corrupt("%T in a form that is not one of a key", key))
	}
	return key
}
