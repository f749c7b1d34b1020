package vclock_test

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/vclock"
)

func appendText(b []byte, value string) ([]byte, error) { return append(b, value...), nil }
func decodeText(data []byte) (string, error)            { return string(data), nil }

// What is stored may never change silently.
func TestGoldenEncodings(t *testing.T) {
	var s vclock.Siblings[string]
	s.Put("b", clock(t, "a=300"), "x")
	s.Put("a", vclock.Clock{}, "yz")
	encoded, err := s.Append(nil, appendText)
	require.NoError(t, err)
	require.Equal(t, "\x01\x02\x01a\xad\x02\x01b\x01"+"\x02"+"\x00\xad\x02\x02yz"+"\x01\x01\x01x", string(encoded))

	for _, tt := range []struct {
		value        encoding.BinaryAppender
		binary       string
		text, inJSON string
	}{
		{vclock.Clock{}, "\x01\x00", "", `{}`},
		{clock(t, "a=3,b=128"), "\x01\x02\x01a\x03\x01b\x80\x01", "a=3,b=128", `{"a":3,"b":128}`},
		{clock(t, `127.0.0.1:7001=2,"a b"=1`), "\x01\x02\x0e127.0.0.1:7001\x02\x03a b\x01", `127.0.0.1:7001=2,"a b"=1`, `{"127.0.0.1:7001":2,"a b":1}`},
		{clock(t, `""=1,"\xff"=2`), "\x01\x02\x00\x01\x01\xff\x02", `""=1,"\xff"=2`, ""},
		{vclock.Dot{Node: "node-1", Counter: 3}, "\x01\x06node-1\x03", "node-1=3", `"node-1=3"`},
		{vclock.Dot{}, "\x01\x00\x00", `""=0`, `"\"\"=0"`},
		{vclock.Stamp(0), "\x01\x00\x00\x00\x00\x00\x00\x00\x00", "1970-01-01T00:00:00.000000Z/0000", `"1970-01-01T00:00:00.000000Z/0000"`},
		{vclock.NewStamp(noon, 7), "\x01\x66\x0b\x3f\xbc\xa1\x00\x00\x07", "2026-11-20T12:00:00.000000Z/0007", `"2026-11-20T12:00:00.000000Z/0007"`},
		{vclock.Stamp(math.MaxUint64), "\x01\xff\xff\xff\xff\xff\xff\xff\xff", "2112-09-17T23:53:47.370495Z/4095", ""},
	} {
		got, err := tt.value.AppendBinary([]byte("before"))
		require.NoError(t, err)
		require.Equal(t, "before"+tt.binary, string(got), "%v", tt.value)
		if tt.text != "" {
			text, err := tt.value.(encoding.TextMarshaler).MarshalText()
			require.NoError(t, err)
			require.Equal(t, tt.text, string(text))
		}
		if tt.inJSON != "" {
			inJSON, err := json.Marshal(tt.value)
			require.NoError(t, err)
			require.Equal(t, tt.inJSON, string(inJSON))
		}
	}
}

// What comes back is what went out, for the tools that compare by reflection, too.
func TestRoundTripsAreEqual(t *testing.T) {
	for _, text := range []string{"", "a=3,b=1"} {
		c := clock(t, text)
		var fromBinary, fromJSON vclock.Clock
		binary, err := c.AppendBinary(nil)
		require.NoError(t, err)
		require.NoError(t, fromBinary.UnmarshalBinary(binary))
		require.Equal(t, c, fromBinary)
		inJSON, err := json.Marshal(c)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(inJSON, &fromJSON))
		require.Equal(t, c, fromJSON)
	}
	var s, back vclock.Siblings[string]
	s.Put("a", vclock.Clock{}, "x")
	_, context := s.Get()
	for range 2 {
		encoded, err := s.Append(nil, appendText)
		require.NoError(t, err)
		require.NoError(t, back.Decode(encoded, decodeText))
		require.Equal(t, s, back)
		s.Delete(context)
	}
}

// Every encoding that is not the one that would have been written is refused, and
// the value stays as it was.
func TestClockRefusesOtherEncodings(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, data := range map[string]string{
		"nothing":              "",
		"another format":       "\x02\x00",
		"cut":                  "\x01\x01\x01a",
		"cut in a name":        "\x01\x01\x05ab",
		"bytes left over":      "\x01\x00\x00",
		"a counter of 0":       "\x01\x01\x01a\x00",
		"a longer number":      "\x01\x01\x01a\x81\x00",
		"a counter too large":  "\x01\x01\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"a number without end": "\x01\x01\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"names out of order":   "\x01\x02\x01b\x01\x01a\x01",
		"a name twice":         "\x01\x02\x01a\x01\x01a\x02",
		"too long a name":      "\x01\x01\x80\x02" + long + "\x01",
		"more than there is":   "\x01\x80\x80\x04",
		"too many":             "\x01\x81\x80\x04" + strings.Repeat("\x00", 1<<18),
	} {
		c := clock(t, "a=1")
		require.ErrorIs(t, c.UnmarshalBinary([]byte(data)), vclock.ErrCorrupt, name)
		require.Equal(t, "a=1", c.String(), name)
	}
	for _, text := range []string{
		"a", "a=", "=1", "a=0", "a=01", "a=+1", "a=-1", "a=1,", ",a=1", "a=1,,b=1", "a=1 ,b=1", "b=1,a=1", "a=1,a=1",
		`"a"=1`, `"a=1`, "`a b`=1", `'a'=1`, "a b=1", "a=9223372036854775808", "a=18446744073709551616", "a=1b=1", long + "=1",
	} {
		c := clock(t, "z=1")
		err := c.UnmarshalText([]byte(text))
		require.ErrorIs(t, err, vclock.ErrCorrupt, text)
		require.Less(t, len(err.Error()), 200, "the text may be as long as an attacker likes")
		require.Equal(t, "z=1", c.String(), text)
	}
	for _, text := range []string{`[]`, `{"a":0}`, `{"a":-1}`, `{"a":1.5}`, `{"a":9223372036854775808}`, `{"a":"1"}`, `{"` + long + `":1}`, `{`} {
		c := clock(t, "z=1")
		require.Error(t, json.Unmarshal([]byte(text), &c), text)
		require.Equal(t, "z=1", c.String(), text)
	}
	c := clock(t, "z=1")
	require.NoError(t, json.Unmarshal([]byte("null"), &c))
	require.Equal(t, "z=1", c.String())
}

func TestOtherDecodersRefuse(t *testing.T) {
	for _, data := range []string{"", "\x01", "\x02\x01a\x01", "\x01\x01a", "\x01\x01a\x01\x00", "\x01\x01a\x80\x00"} {
		d := vclock.Dot{Node: "z", Counter: 1}
		require.ErrorIs(t, d.UnmarshalBinary([]byte(data)), vclock.ErrCorrupt, "%q", data)
		require.Equal(t, vclock.Dot{Node: "z", Counter: 1}, d)
	}
	for _, text := range []string{"", "a", "a=", "a=1,b=1", "a=01", `"a"=1`} {
		require.ErrorIs(t, new(vclock.Dot).UnmarshalText([]byte(text)), vclock.ErrCorrupt, text)
	}
	for _, data := range []string{"", "\x01", "\x02\x00\x00\x00\x00\x00\x00\x00\x00", "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		require.ErrorIs(t, new(vclock.Stamp).UnmarshalBinary([]byte(data)), vclock.ErrCorrupt, "%q", data)
	}
	for _, text := range []string{
		"", "2026-11-20T12:00:00.000000Z", "2026-11-20T12:00:00.000000Z/4096", "2026-11-20T12:00:00.000000Z/+001",
		"2026-13-20T12:00:00.000000Z/0000", "1969-12-31T23:59:59.999999Z/0000", "2113-01-01T00:00:00.000000Z/0000",
		"9999-01-01T00:00:00.000000Z/0000", "2026-11-20T12:00:00,000000Z/0000", "2026-11-20 12:00:00.000000Z/0000",
	} {
		require.ErrorIs(t, new(vclock.Stamp).UnmarshalText([]byte(text)), vclock.ErrCorrupt, text)
	}
}

func TestSiblingsRefuseOtherEncodings(t *testing.T) {
	for name, data := range map[string]string{
		"nothing":                    "",
		"another format":             "\x02\x00\x00",
		"no values":                  "\x01\x00",
		"a dot of no node":           "\x01\x00\x01\x00\x01\x00",
		"a dot not in the clock":     "\x01\x01\x01a\x01\x01\x00\x02\x00",
		"a dot of nothing":           "\x01\x01\x01a\x01\x01\x00\x00\x00",
		"dots out of order":          "\x01\x01\x01a\x02\x02\x00\x02\x00\x00\x01\x00",
		"a dot twice":                "\x01\x01\x01a\x02\x02\x00\x01\x00\x00\x01\x00",
		"a value longer than it is":  "\x01\x01\x01a\x01\x01\x00\x01\x05x",
		"more values than there are": "\x01\x01\x01a\x01\x7f\x00\x01\x00",
		"bytes left over":            "\x01\x00\x00\x00",
	} {
		var s vclock.Siblings[string]
		s.Put("z", vclock.Clock{}, "kept")
		require.ErrorIs(t, s.Decode([]byte(data), decodeText), vclock.ErrCorrupt, name)
		require.Equal(t, []string{"kept"}, valuesOf(s), name)
	}
	for _, text := range []string{
		`[]`, `{"clock":{},"values":[{"dot":"a=1","value":"x"}]}`, `{"clock":{"a":1},"values":[{"dot":"\"a\"=0","value":"x"}]}`,
		`{"clock":{"a":1},"values":[{"dot":"a=1","value":1}]}`, `{"clock":{"a":1},"values":[{"dot":"a=1"},{"dot":"a=1"}]}`,
	} {
		require.Error(t, json.Unmarshal([]byte(text), new(vclock.Siblings[string])), text)
	}
	var s vclock.Siblings[string]
	s.Put("z", vclock.Clock{}, "kept")
	require.NoError(t, json.Unmarshal([]byte("null"), &s))
	require.Equal(t, 1, s.Len())
}

func TestSiblingsThroughJSON(t *testing.T) {
	var s, back vclock.Siblings[map[string]int]
	s.Put("b", clock(t, "a=7"), map[string]int{"x": 1})
	s.Put("a", vclock.Clock{}, nil)
	data, err := json.Marshal(s)
	require.NoError(t, err)
	require.Equal(t, `{"clock":{"a":8,"b":1},"values":[{"dot":"a=8","value":null},{"dot":"b=1","value":{"x":1}}]}`, string(data))
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, s, back)
	require.NoError(t, json.Unmarshal([]byte(`{"clock":{"a":2},"values":[{"dot":"a=2","value":{}},{"dot":"a=1","value":{}}]}`), &back))
	require.Equal(t, 2, back.Len(), "in any order")
}

func TestSiblingsPassOnErrorsOfValues(t *testing.T) {
	broken := errors.New("broken value")
	var s vclock.Siblings[string]
	s.Put("a", vclock.Clock{}, "x")
	b, err := s.Append([]byte("before"), func([]byte, string) ([]byte, error) { return nil, broken })
	require.Equal(t, broken, err)
	require.Equal(t, "before", string(b))
	encoded, err := s.Append(nil, appendText)
	require.NoError(t, err)
	require.Equal(t, broken, s.Decode(encoded, func([]byte) (string, error) { return "", broken }))
	require.Equal(t, []string{"x"}, valuesOf(s))
}

func TestTooLargeToEncode(t *testing.T) {
	var name, counter, many vclock.Clock
	name.Tick(strings.Repeat("x", vclock.MaxName+1))
	counter.Add(vclock.Dot{Node: "a", Counter: vclock.MaxCounter + 1})
	var data []byte
	data = append(data, 1, 0x80, 0x80, 0x04)
	for i := range vclock.MaxEntries {
		data = fmt.Appendf(data, "\x05%05d\x01", i)
	}
	require.NoError(t, many.UnmarshalBinary(data), "as many as there may be")
	again, err := many.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, data, again)
	many.Tick("one more")

	for _, c := range []vclock.Clock{name, counter, many} {
		b, err := c.AppendBinary([]byte("before"))
		require.ErrorIs(t, err, vclock.ErrTooLarge)
		require.Equal(t, "before", string(b))
		_, err = c.MarshalText()
		require.ErrorIs(t, err, vclock.ErrTooLarge)
		_, err = c.MarshalJSON()
		require.ErrorIs(t, err, vclock.ErrTooLarge)
		var s vclock.Siblings[string]
		s.Delete(c)
		_, err = s.Append(nil, appendText)
		require.ErrorIs(t, err, vclock.ErrTooLarge)
	}
	for _, d := range []vclock.Dot{{Node: strings.Repeat("x", vclock.MaxName+1), Counter: 1}, {Node: "a", Counter: vclock.MaxCounter + 1}} {
		_, err := d.AppendBinary(nil)
		require.ErrorIs(t, err, vclock.ErrTooLarge)
		_, err = d.MarshalText()
		require.ErrorIs(t, err, vclock.ErrTooLarge)
	}
	_, err = json.Marshal(clock(t, `"\xff"=1`))
	require.ErrorContains(t, err, "UTF-8")
}

// TestDecodingIsBounded has lengths promise what does not come.
func TestDecodingIsBounded(t *testing.T) {
	data := []byte("\x01\xff\xff\x03")
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = new(vclock.Clock).UnmarshalBinary(data) }), 6.0)
	good, err := clock(t, "a=1,b=2,c=3").AppendBinary(nil)
	require.NoError(t, err)
	var c vclock.Clock
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _ = c.UnmarshalBinary(good) }), 5.0)
	clear(good) // belongs to the caller
	require.Equal(t, "a=1,b=2,c=3", c.String())
}

// The orders of stamps, of their texts and of their encodings are the same.
func TestStampFormsKeepTheOrder(t *testing.T) {
	stamps := []vclock.Stamp{0, 1, 4095, 4096, vclock.NewStamp(noon, 0), vclock.NewStamp(noon, 9), vclock.NewStamp(noon, 10), vclock.NewStamp(noon, 4095), vclock.NewStamp(noon, 4095) + 1, math.MaxUint64}
	var texts, encodings []string
	for _, s := range stamps {
		encoded, err := s.AppendBinary(nil)
		require.NoError(t, err)
		texts, encodings = append(texts, s.String()), append(encodings, string(encoded))
	}
	require.True(t, slices.IsSorted(texts))
	require.True(t, slices.IsSorted(encodings))
}

// What the decoder accepts is what the encoder writes.
func FuzzClockBinary(f *testing.F) {
	for _, text := range []string{"", "a=1", "a=300,b=2", `""=1,"\xff"=9223372036854775807`} {
		data, err := clock(f, text).AppendBinary(nil)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var c vclock.Clock
		if c.UnmarshalBinary(data) != nil {
			return
		}
		again, err := c.AppendBinary(nil)
		require.NoError(t, err)
		require.Equal(t, data, again)
		require.Equal(t, vclock.Equal, clock(t, c.String()).Compare(c), "through text")
	})
}

func FuzzClockText(f *testing.F) {
	for _, text := range []string{"", "a=1", "a=3,b=1", `"a b"=1,127.0.0.1:7001=2`, `"\xff"=1`, "`a`=1", "a=,b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c vclock.Clock
		if c.UnmarshalText([]byte(text)) != nil {
			return
		}
		again, err := c.MarshalText()
		require.NoError(t, err)
		require.Equal(t, text, string(again))
	})
}

func FuzzClockJSON(f *testing.F) {
	for _, text := range []string{"{}", `{"a":1,"b":2}`, `null`, `{"\u0000":3}`, `{"a":1,"a":2}`, `{"\ud800":1}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c, d vclock.Clock
		if json.Unmarshal([]byte(text), &c) != nil {
			return
		}
		again, err := json.Marshal(c)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(again, &d))
		require.Equal(t, vclock.Equal, c.Compare(d))
	})
}

func FuzzDotAndStamp(f *testing.F) {
	f.Add([]byte("\x01\x01a\x03"))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x07"))
	f.Add([]byte("a=3"))
	f.Add([]byte("2026-11-20T12:00:00.000000Z/0007"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d vclock.Dot
		var s vclock.Stamp
		for _, value := range []any{&d, &s} {
			if value.(encoding.BinaryUnmarshaler).UnmarshalBinary(data) == nil {
				again, err := value.(encoding.BinaryAppender).AppendBinary(nil)
				require.NoError(t, err)
				require.Equal(t, data, again)
			}
			if value.(encoding.TextUnmarshaler).UnmarshalText(data) == nil {
				again, err := value.(encoding.TextMarshaler).MarshalText()
				require.NoError(t, err)
				require.Equal(t, string(data), string(again))
			}
		}
	})
}

func FuzzSiblings(f *testing.F) {
	var s vclock.Siblings[string]
	for _, node := range []string{"a", "b", "a"} {
		data, err := s.Append(nil, appendText)
		require.NoError(f, err)
		f.Add(data)
		s.Put(node, vclock.Clock{}, "value of "+node)
	}
	inJSON, err := json.Marshal(s)
	require.NoError(f, err)
	f.Add(inJSON)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s vclock.Siblings[string]
		if s.Decode(data, decodeText) == nil {
			again, err := s.Append(nil, appendText)
			require.NoError(t, err)
			require.Equal(t, data, again)
			values, context := s.Get()
			require.Len(t, values, s.Len())
			s.Delete(context)
			require.Zero(t, s.Len(), "the context covers every value")
		}
		if json.Unmarshal(data, &s) == nil {
			_, err := json.Marshal(s)
			require.NoError(t, err)
		}
	})
}
