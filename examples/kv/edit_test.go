package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEditsAreDecidedByWhatIsThere(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	there := &item{value: []byte("old"), expires: now.UnixMilli() + 1}
	gone := &item{value: []byte("old"), expires: now.UnixMilli()}
	want := item{value: []byte("new"), tag: 5}
	for _, c := range []struct {
		name   string
		edit   edit
		before *item
		done   bool
		shown  bool // the old value, to an edit that wants it
		after  item
	}{
		{"put over nothing", edit{verb: put, item: want}, nil, true, false, want},
		{"put over an item", edit{verb: put, item: want}, there, true, true, want},
		{"put over an expired item", edit{verb: put, item: want}, gone, true, false, want},
		{"put keeping the expiry", edit{verb: put, item: want, keepExpiry: true}, there, true, true, item{value: want.value, tag: 5, expires: there.expires}},
		{"put keeping no expiry", edit{verb: put, item: want, keepExpiry: true}, gone, true, false, want},
		{"if absent, over nothing", edit{verb: put, only: ifAbsent, item: want}, nil, true, false, want},
		{"if absent, over an item", edit{verb: put, only: ifAbsent, item: want}, there, false, true, want},
		{"if absent, over an expired item", edit{verb: put, only: ifAbsent, item: want}, gone, true, false, want},
		{"if present, over nothing", edit{verb: put, only: ifPresent, item: want}, nil, false, false, want},
		{"if present, over an item", edit{verb: put, only: ifPresent, item: want}, there, true, true, want},
		{"if present, over an expired item", edit{verb: put, only: ifPresent, item: want}, gone, false, false, want},
	} {
		before := nothing
		if c.before != nil {
			before = *c.before
		}
		for _, wanted := range []bool{false, true} {
			c.edit.wantsOld = wanted
			o, after := c.edit.apply(now, before)
			require.Equal(t, c.done, o.done, c.name)
			require.Equal(t, c.shown && wanted, o.existed, c.name)
			require.False(t, o.repeated, c.name)
			if c.done {
				require.Equal(t, c.after, after, c.name)
			}
			if o.existed {
				require.Equal(t, before, o.before, c.name)
			}
		}
	}
}

// An edit that finds its own tag has been carried out already. Whether its
// condition held is settled: it did.
func TestRepeatedEditIsRecognised(t *testing.T) {
	written := item{value: []byte("new"), tag: 5}
	for _, only := range []condition{always, ifAbsent, ifPresent} {
		o, _ := edit{verb: put, only: only, item: written}.apply(time.Now(), written)
		require.Equal(t, outcome{done: true, repeated: true}, o)
		o, _ = edit{verb: put, only: only, item: item{tag: 6}}.apply(time.Now(), written)
		require.False(t, o.repeated)
	}
}

func TestEditsAndOutcomesTravel(t *testing.T) {
	it := item{value: []byte("v\x00"), expires: 12345, tag: 1 << 63}
	none := item{value: []byte{}}
	for _, e := range []edit{
		{verb: put, key: "k", equals: []byte{}, item: it},
		{verb: put, key: "k", only: ifAbsent, equals: []byte{}, item: none},
		{verb: put, key: "k", only: ifPresent, equals: []byte{}, keepExpiry: true, wantsOld: true, item: it},
		{verb: put, key: "k", only: ifEqual, equals: []byte("old"), item: it},
		{verb: remove, key: "\x00", only: ifPresent, equals: []byte{}, item: item{value: []byte{}, tag: 7}},
		{verb: add, key: "k", equals: []byte{}, by: -1 << 63, item: none},
		{verb: expire, key: "k", equals: []byte{}, item: none},
	} {
		got, err := decodeEdit(e.append(nil))
		require.NoError(t, err)
		require.Equal(t, e, got)
	}
	for _, o := range []outcome{
		{},
		{done: true},
		{existed: true, before: it},
		{done: true, existed: true, before: it, number: -5},
		{done: true, repeated: true},
		{failure: "NOQUORUM so it is"},
	} {
		got, err := decodeOutcome(o.append(nil))
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
}

// What is out of bounds does not come in through another node either.
func TestEditsOutOfBoundsAreRefused(t *testing.T) {
	for _, e := range []edit{
		{verb: put},
		{verb: put, key: strings.Repeat("k", maxKey+1)},
		{verb: put, key: "k", item: item{value: make([]byte, maxValue+1)}},
		{verb: expire + 1, key: "k"},
		{verb: put, key: "k", only: ifEqual + 1},
	} {
		_, err := decodeEdit(e.append(nil))
		require.ErrorIs(t, err, errEdit)
	}
}

// Whatever comes from the network is refused or is what would be sent.
func FuzzDecodeEdit(f *testing.F) {
	f.Add(edit{verb: put, key: "key", only: ifEqual, equals: []byte("old"), keepExpiry: true, item: item{value: []byte("v"), expires: 1, tag: 2}}.append(nil))
	f.Add(edit{verb: remove}.append(nil))
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEdit(b)
		if err != nil {
			require.ErrorIs(t, err, errEdit)
			return
		}
		require.Equal(t, b, e.append(nil))
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	f.Add(outcome{done: true, existed: true, before: item{value: []byte("v"), expires: 1, tag: 2}}.append(nil))
	f.Add(outcome{repeated: true, number: 7}.append(nil))
	f.Add(outcome{failure: errSyntax}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOutcome(b)
		if err != nil {
			require.ErrorIs(t, err, errEdit)
			return
		}
		require.Equal(t, b, o.append(nil))
	})
}

func FuzzDecodeItem(f *testing.F) {
	f.Add(item{value: []byte("v"), expires: 1, tag: 2}.append(nil))
	f.Add([]byte{itemVersion})
	f.Add([]byte{itemVersion, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := decodeItem(b)
		if err != nil {
			require.ErrorIs(t, err, errItem)
			return
		}
		require.Equal(t, b, it.append(nil))
	})
}
