package crdt

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// appendValue appends the binary form of an element, a key or a value. A type that
// has AppendBinary or MarshalBinary is asked; strings and bytes are as they are,
// integers are varints, floats their bits.
func appendValue[T any](b []byte, v T) ([]byte, error) {
	switch v := any(v).(type) { // these allocate nothing
	case string:
		return append(b, v...), nil
	case []byte:
		return append(b, v...), nil
	case int:
		return binary.AppendVarint(b, int64(v)), nil
	case uint64:
		return binary.AppendUvarint(b, v), nil
	}
	return appendOther(b, v)
}

// appendKey is appendValue for elements and keys, which are found again by ==. Equal
// ones have one form, 0 and -0 as well. With check, one that would come back as another
// is refused, such as a pointer, or a time.Time in a zone: merged with itself, it
// would be lost.
func appendKey[K comparable](b []byte, key K, check bool) ([]byte, error) {
	var zero K
	if key == zero {
		key = zero
	}
	from := len(b)
	b, err := appendValue(b, key)
	if err != nil || !check {
		return b, err
	}
	if back, err := decodeValue[K](b[from:]); err != nil || back != key {
		return b, fmt.Errorf("%w: a %T that is not equal to what it is decoded to", ErrUnsupported, key)
	}
	return b, nil
}

// encodesItself reports whether a type has a binary form of its own making.
func encodesItself[K any]() bool {
	var zero K
	switch any(zero).(type) {
	case string, int, uint64: // the most usual, sooner
	case encoding.BinaryAppender, encoding.BinaryMarshaler, nil: // nil is an interface
		return true
	}
	return false
}

func appendOther[T any](b []byte, v T) ([]byte, error) {
	switch v := any(v).(type) {
	case struct{}:
		return b, nil
	case encoding.BinaryAppender:
		return v.AppendBinary(b)
	case encoding.BinaryMarshaler:
		data, err := v.MarshalBinary()
		return append(b, data...), err
	}
	r := reflect.ValueOf(&v).Elem()
	switch {
	case r.Kind() == reflect.String:
		return append(b, r.String()...), nil
	case r.Kind() == reflect.Bool && r.Bool():
		return append(b, 1), nil
	case r.Kind() == reflect.Bool:
		return append(b, 0), nil
	case r.CanInt():
		return binary.AppendVarint(b, r.Int()), nil
	case r.CanUint():
		return binary.AppendUvarint(b, r.Uint()), nil
	case isBytes(r):
		return append(b, r.Bytes()...), nil
	case r.CanFloat():
		return binary.BigEndian.AppendUint64(b, math.Float64bits(r.Float())), nil
	}
	return b, fmt.Errorf("%w: %T", ErrUnsupported, v)
}

func isBytes(r reflect.Value) bool {
	return r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8
}

// decodeValue returns the value of which data is the binary form, and refuses
// forms other than the one that appendValue writes. It does not refer to data
// afterwards.
func decodeValue[T any](data []byte) (v T, err error) {
	switch p := any(&v).(type) {
	case *string:
		*p = string(data)
		return v, nil
	case *[]byte:
		*p = append([]byte{}, data...)
		return v, nil
	}
	if err = decodeInto(reflect.ValueOf(&v).Elem(), data); err != nil {
		return v, err
	}
	again, err := appendValue(make([]byte, 0, len(data)), v)
	if err == nil && string(again) != string(data) {
		err = corrupt("%T in another form than its own", v)
	}
	return v, err
}

func decodeInto(r reflect.Value, data []byte) error {
	target := r.Addr()
	if r.Kind() == reflect.Pointer {
		r.Set(reflect.New(r.Type().Elem()))
		target = r
	}
	if u, ok := target.Interface().(encoding.BinaryUnmarshaler); ok {
		if err := u.UnmarshalBinary(data); err != nil {
			return corrupt("%s: %w", r.Type(), err)
		}
		return nil
	}
	n := len(data) // how many of the bytes are the number
	switch {
	case r.Kind() == reflect.String:
		r.SetString(string(data))
	case isBytes(r):
		r.SetBytes(append([]byte{}, data...))
	case r.Kind() == reflect.Bool && len(data) == 1:
		r.SetBool(data[0] != 0)
	case r.CanInt():
		var number int64
		number, n = binary.Varint(data)
		r.SetInt(number)
	case r.CanUint():
		var number uint64
		number, n = binary.Uvarint(data)
		r.SetUint(number)
	case r.CanFloat() && len(data) == 8:
		r.SetFloat(math.Float64frombits(binary.BigEndian.Uint64(data)))
	case r.Kind() == reflect.Struct && r.NumField() == 0 && len(data) == 0:
	case r.Kind() == reflect.Bool, r.CanFloat(), r.Kind() == reflect.Struct && r.NumField() == 0:
		n = -1
	default:
		return fmt.Errorf("%w: %s", ErrUnsupported, r.Type())
	}
	if n <= 0 && len(data) > 0 || n != len(data) {
		return corrupt("not a %s", r.Type())
	}
	return nil
}
