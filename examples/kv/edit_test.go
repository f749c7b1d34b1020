package main

import (
	"errors"
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
		shown  bool // the old value
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
		before := item{}
		if c.before != nil {
			before = *c.before
		}
		o, after := c.edit.apply(now, before, c.before != nil)
		require.Equal(t, c.done, o.done, c.name)
		require.Equal(t, c.shown, o.existed, c.name)
		require.False(t, o.repeated, c.name)
		if c.done {
			require.Equal(t, c.after, after, c.name)
		}
		if c.shown {
			require.Equal(t, before, o.before, c.name)
		}
	}
}

// An edit that finds its own tag has been carried out already. Whether its
// condition held is settled: it did.
func TestRepeatedEditIsRecognised(t *testing.T) {
	written := item{value: []byte("new"), tag: 5}
	for _, only := range []condition{always, ifAbsent, ifPresent} {
		o, _ := edit{verb: put, only: only, item: written}.apply(time.Now(), written, true)
		require.Equal(t, outcome{done: true, repeated: true}, o)
		o, _ = edit{verb: put, only: only, item: item{tag: 6}}.apply(time.Now(), written, true)
		require.False(t, o.repeated)
	}
}

func TestEditsAndOutcomesTravel(t *testing.T) {
	it := item{value: []byte("v\x00"), expires: 12345, tag: 1 << 63}
	for _, e := range []edit{
		{verb: put, item: it},
		{verb: put, only: ifAbsent, item: item{value: []byte{}}},
		{verb: put, only: ifPresent, keepExpiry: true, item: it},
		{verb: remove, only: ifPresent, item: item{value: []byte{}, tag: 7}},
	} {
		key, got, err := decodeEdit(e.append(nil, "key"))
		require.NoError(t, err)
		require.Equal(t, "key", key)
		require.Equal(t, e, got)
	}
	for _, o := range []outcome{
		{},
		{done: true},
		{existed: true, before: it},
		{done: true, existed: true, before: it},
		{done: true, repeated: true},
	} {
		got, err := decodeOutcome(appendOutcome(nil, o, nil))
		require.NoError(t, err)
		require.Equal(t, o, got)
	}
	_, err := decodeOutcome(appendOutcome(nil, outcome{done: true}, replyError("NOQUORUM so it is")))
	require.Equal(t, replyError("NOQUORUM so it is"), err)
	_, err = decodeOutcome(appendOutcome(nil, outcome{}, errors.New("broken")))
	require.Equal(t, replyError("ERR broken"), err)
}

// Whatever comes from the network is refused or is what would be sent.
func FuzzDecodeEdit(f *testing.F) {
	f.Add(edit{verb: put, only: ifAbsent, keepExpiry: true, item: item{value: []byte("v"), expires: 1, tag: 2}}.append(nil, "key"))
	f.Add(edit{verb: remove}.append(nil, ""))
	f.Add([]byte{1, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		key, e, err := decodeEdit(b)
		if err != nil {
			require.ErrorIs(t, err, errEdit)
			return
		}
		require.Equal(t, b, e.append(nil, key))
	})
}

func FuzzDecodeOutcome(f *testing.F) {
	f.Add(appendOutcome(nil, outcome{done: true, existed: true, before: item{value: []byte("v"), expires: 1, tag: 2}}, nil))
	f.Add(appendOutcome(nil, outcome{repeated: true}, nil))
	f.Add(appendOutcome(nil, outcome{}, errSyntax))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOutcome(b)
		if _, said := errors.AsType[replyError](err); said {
			require.Equal(t, b, appendOutcome(nil, o, err))
			return
		}
		if err != nil {
			require.ErrorIs(t, err, errEdit)
			return
		}
		require.Equal(t, b, appendOutcome(nil, o, nil))
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
