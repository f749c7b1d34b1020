package vclock

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The text form of a clock is that of its dots, in the order of names, with
// commas: a=3,b=1. Names that have more in them than ASCII letters, digits and
// ._:/@- are in quotes, as Go writes them.

// String returns the text form, such as a=3,b=1; it is empty for the zero Clock.
func (c Clock) String() string { return string(c.appendText(nil)) }

// MarshalText returns the text form. The error is ErrTooLarge, as for
// AppendBinary.
func (c Clock) MarshalText() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return c.appendText([]byte{}), nil
}

// UnmarshalText sets c to what MarshalText encoded. The error is ErrCorrupt; c
// stays as it was then.
func (c *Clock) UnmarshalText(text []byte) error {
	var list []string
	var counters []uint64
	for rest, more := string(text), len(text) > 0; more; {
		var d Dot
		var err error
		if d, rest, err = cutDot(rest); err != nil {
			return err
		}
		if rest, more = strings.CutPrefix(rest, ","); !more && rest != "" {
			return corruptText(text)
		}
		list, counters = append(list, d.Node), append(counters, d.Counter)
	}
	decoded, ok := newClock(list, counters)
	if !ok || decoded.String() != string(text) {
		return corruptText(text)
	}
	*c = decoded
	return nil
}

// newClock returns the clock of names and counters from outside, and false if they
// are those of none.
func newClock(list []string, counters []uint64) (Clock, bool) {
	if len(list) == 0 {
		return Clock{}, true
	}
	for i, name := range list {
		if counters[i] == 0 || i > 0 && name <= list[i-1] {
			return Clock{}, false
		}
	}
	c := Clock{newNames(list), counters}
	return c, c.check() == nil
}

// MarshalJSON returns an object of names and counters, {"a":3,"b":1}. Beside
// ErrTooLarge it is an error if a name is not UTF-8, which JSON cannot hold.
func (c Clock) MarshalJSON() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := []byte{'{'}
	for i, node := range c.names.all() {
		if !utf8.ValidString(node) {
			return nil, fmt.Errorf("vclock: name %q is not UTF-8, as JSON needs", node)
		}
		name, _ := json.Marshal(node) // never fails for UTF-8
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, name...), ':')
		b = strconv.AppendUint(b, c.counters[i], 10)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON sets c to what MarshalJSON encoded; the order of the names is
// free, and of a name that comes twice the last counts. null leaves c as it is.
// The error is ErrCorrupt; c stays as it was then.
func (c *Clock) UnmarshalJSON(data []byte) error {
	var byName map[string]uint64
	if err := json.Unmarshal(data, &byName); err != nil {
		return fmt.Errorf("%w: clock: %w", ErrCorrupt, err)
	}
	if byName == nil {
		return nil
	}
	list := slices.Sorted(maps.Keys(byName))
	counters := make([]uint64, len(list))
	for i, node := range list {
		counters[i] = byName[node]
	}
	decoded, ok := newClock(list, counters)
	if !ok {
		return fmt.Errorf("%w: counters are 1 to %d, names at most %d bytes", ErrCorrupt, uint64(MaxCounter), MaxName)
	}
	*c = decoded
	return nil
}

// MarshalText returns the text form, such as a=3; it is that of JSON, too. The
// error is ErrTooLarge, as for AppendBinary.
func (d Dot) MarshalText() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	return appendDotText(nil, d.Node, d.Counter), nil
}

// UnmarshalText sets d to what MarshalText encoded. The error is ErrCorrupt; d
// stays as it was then.
func (d *Dot) UnmarshalText(text []byte) error {
	decoded, rest, err := cutDot(string(text))
	if err != nil {
		return err
	}
	if rest != "" || decoded.check() != nil || decoded.String() != string(text) {
		return corruptText(text)
	}
	*d = decoded
	return nil
}

func (c Clock) appendText(b []byte) []byte {
	for i, node := range c.names.all() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendDotText(b, node, c.counters[i])
	}
	return b
}

func appendDotText(b []byte, node string, counter uint64) []byte {
	if plainName(node) == len(node) && node != "" {
		b = append(b, node...)
	} else {
		b = strconv.AppendQuote(b, node)
	}
	return strconv.AppendUint(append(b, '='), counter, 10)
}

// plainName returns how many bytes at the front of s need no quotes.
func plainName(s string) int {
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("._:/@-", c) < 0 {
			return i
		}
	}
	return len(s)
}

// cutDot reads a dot off the front of a text. Other spellings of the same dot are
// let through: whoever calls it compares the text with the one that it would have
// written.
func cutDot(s string) (d Dot, rest string, err error) {
	name := s[:plainName(s)]
	if d.Node = name; name == "" {
		if name, err = strconv.QuotedPrefix(s); err == nil {
			d.Node, err = strconv.Unquote(name)
		}
		if err != nil {
			return Dot{}, "", corruptText([]byte(s))
		}
	}
	rest, found := strings.CutPrefix(s[len(name):], "=")
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	d.Counter, err = strconv.ParseUint(rest[:digits], 10, 64)
	if err != nil || !found {
		return Dot{}, "", corruptText([]byte(s))
	}
	return d, rest[digits:], nil
}

// corruptText shows the beginning of a text, which may be long.
func corruptText(text []byte) error {
	return fmt.Errorf("%w: %.40q", ErrCorrupt, text)
}
