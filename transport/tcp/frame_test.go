package tcp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/transport"
)

// The bytes of these frames may never change: nodes of different age talk.
func TestWireFormatIsFrozen(t *testing.T) {
	for name, test := range map[string]struct {
		got  []byte
		want string
	}{
		"message":  {appendMessage(nil, "s", []byte("hi"), true), "09000000" + "01" + "0173" + "6869" + "4ce1adaa"},
		"request":  {appendRequest(nil, 0x100001, 5, "s", []byte("hi"), false), "15000000" + "02" + "0100100000000000" + "0500000000000000" + "0173" + "6869"},
		"response": {appendResponse(nil, 0x100001, statusError, []byte("no"), false), "0c000000" + "03" + "0100100000000000" + "01" + "6e6f"},
		"cancel":   {appendWord(nil, kindCancel, 7, false), "09000000" + "04" + "0700000000000000"},
		"ping":     {appendWord(nil, kindPing, 7, false), "09000000" + "05" + "0700000000000000"},
		"pong":     {appendWord(nil, kindPong, 7, false), "09000000" + "06" + "0700000000000000"},
		"fragment": {appendFragments(nil, 9, header("ab"), []byte("cd"), false), "11000000" + "07" + "09000000" + "04000000" + "00000000" + "61626364"},
		"abort":    {appendAbort(nil, 9, false), "05000000" + "08" + "09000000"},
		"confirm":  {appendConfirm(nil, false), "01000000" + "09"},
	} {
		require.Equal(t, test.want, hex.EncodeToString(test.got), name)
	}
}

func TestHelloIsFrozen(t *testing.T) {
	h := hello{
		name: "a", target: "b", incarnation: 1, sequence: 2,
		maxMessage: 3, maxCalls: 4, keepAlive: 5,
	}
	const want = "50524c59" + "01" + "01" + "3f00" +
		"010100" + "61" + "020100" + "62" +
		"040800" + "0100000000000000" + "050800" + "0200000000000000" + "060800" + "0300000000000000" +
		"070800" + "0400000000000000" + "080800" + "0500000000000000"
	got := appendHello(nil, &h)
	require.Equal(t, want, hex.EncodeToString(got[:len(got)-checksumSize]))
	back, err := readHello(bytes.NewReader(got))
	require.NoError(t, err)
	h.newest, h.oldest = 1, 1
	require.Equal(t, &h, back)
}

// A later version may add fields to the hello and optional kinds of frames.
func TestLaterVersionsAreUnderstood(t *testing.T) {
	h := hello{name: "a", incarnation: 1, maxMessage: 1, maxCalls: 1, keepAlive: time.Second}
	b := appendHello(nil, &h)
	b = appendField(b[:len(b)-checksumSize], 200, []byte("from the future"))
	b[4] = 9 // the newest version it speaks; the oldest is still ours
	b[6] = byte(len(b) - helloPrefix)
	got, err := parseHello(sealHello(b))
	require.NoError(t, err)
	require.NoError(t, got.check())
	require.Equal(t, "a", got.name)

	b[5] = 9 // no longer speaks ours
	got, err = parseHello(sealHello(b))
	require.NoError(t, err)
	require.ErrorContains(t, got.check(), "versions 9 to 9")

	var f frame
	require.NoError(t, parse([]byte{byte(kindOptional), 1, 2, 3}, &f))
	require.ErrorIs(t, parse([]byte{byte(kindOptional) - 1, 1, 2, 3}, &f), errFrame)
}

func TestLengthPrefixOf4GiB(t *testing.T) {
	for _, sums := range []bool{true, false} {
		_, _, err := cut([]byte{0xff, 0xff, 0xff, 0xff}, sums)
		require.ErrorIs(t, err, errFrame)
		_, _, err = cut([]byte{0, 0, 0, 0}, sums)
		require.ErrorIs(t, err, errFrame)
	}
	// A total of 4 GiB in a first fragment is refused before anything is
	// allocated for it.
	a := assembly{limit: 1 << 20, buffers: &bufferPool{}}
	_, err := a.add(&frame{kind: kindFragment, id: 1, total: 1<<32 - 1, body: []byte{1}})
	require.ErrorIs(t, err, errFrame)
	require.Empty(t, a.streams)
}

func TestEveryBitFlipIsFound(t *testing.T) {
	whole := appendRequest(nil, 1, 2, "service", []byte("body"), true)
	for i := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		_, size, err := cut(b, true)
		if err == nil && size > 0 {
			t.Fatalf("bit %d: a changed frame was accepted", i)
		}
	}
}

func TestFragmentsBecomeThePayloadAgain(t *testing.T) {
	for _, sums := range []bool{true, false} {
		for _, n := range []int{maxPart - 1, maxPart, maxPart + 1, 2 * maxPart, 64 << 10, 1 << 20} {
			h := appendMessageHeader(nil, "service")
			body := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
			wire := appendFragments(nil, 3, h, body, sums)
			require.Len(t, wire, fragmentedSize(len(h)+n, sums))
			var whole []byte
			a := assembly{limit: len(h) + n, buffers: &bufferPool{}}
			for len(wire) > 0 {
				require.Nil(t, whole, "payload is whole before its last fragment")
				payload, size, err := cut(wire, sums)
				require.NoError(t, err)
				wire = wire[size:]
				var f frame
				require.NoError(t, parse(payload, &f))
				whole, err = a.add(&f)
				require.NoError(t, err)
			}
			var f frame
			require.NoError(t, parse(whole, &f))
			require.Equal(t, "service", string(f.name))
			require.True(t, bytes.Equal(body, f.body))
		}
	}
}

// What a peer can make us hold is bounded by what it has sent, by the number of
// streams, and by the largest message.
func TestReassemblyIsBounded(t *testing.T) {
	const limit = 64 << 20
	a := assembly{limit: limit, buffers: &bufferPool{}}
	first := func(stream uint64) error {
		_, err := a.add(&frame{kind: kindFragment, id: stream, total: limit, body: []byte{byte(kindMessage)}})
		return err
	}
	for i := range uint64(maxStreams) {
		require.NoError(t, first(i))
	}
	require.ErrorIs(t, first(maxStreams), errFrame)
	held := 0
	for _, p := range a.streams {
		held += cap(p.data)
	}
	require.LessOrEqual(t, held, maxStreams*firstAlloc)

	for name, bad := range map[string]frame{
		"gap":             {id: 0, total: limit, offset: 5, body: []byte{1}},
		"repeated":        {id: 0, total: limit, offset: 0, body: []byte{1}},
		"changed total":   {id: 0, total: limit - 1, offset: 1, body: []byte{1}},
		"unknown stream":  {id: 99, total: limit, offset: 5, body: []byte{1}},
		"over the total":  {id: 1, total: limit, offset: 1, body: make([]byte, limit)},
		"over the limits": {id: 98, total: limit + 1, body: []byte{1}},
	} {
		_, err := a.add(&bad)
		require.ErrorIs(t, err, errFrame, name)
	}
	a.drop(0)
	require.NoError(t, first(maxStreams))
}

func FuzzFrame(f *testing.F) {
	for _, sums := range []bool{true, false} {
		f.Add(appendMessage(nil, "service", []byte("body"), sums), sums)
		f.Add(appendRequest(nil, 1, 2, "service", []byte("body"), sums), sums)
		f.Add(appendResponse(nil, 1, statusOverflow, nil, sums), sums)
		f.Add(appendWord(nil, kindCancel, 1, sums), sums)
		f.Add(appendFragments(nil, 1, header("head"), make([]byte, maxPart), sums), sums)
		f.Add(appendAbort(nil, 1, sums), sums)
		f.Add(appendConfirm(nil, sums), sums)
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, true)
	f.Fuzz(func(t *testing.T, b []byte, sums bool) {
		a := assembly{limit: 1 << 20, buffers: &bufferPool{}}
		for {
			payload, size, err := cut(b, sums)
			if err != nil || size == 0 {
				return
			}
			if size > len(b) || size > lengthSize+maxFrame {
				t.Fatalf("a frame of %d bytes in %d", size, len(b))
			}
			b = b[size:]
			var f frame
			if parse(payload, &f) != nil {
				return
			}
			if len(f.name)+len(f.body) > len(payload) {
				t.Fatalf("name and body of %d bytes in a payload of %d", len(f.name)+len(f.body), len(payload))
			}
			if f.kind == kindFragment {
				if _, err := a.add(&f); err != nil {
					return
				}
			}
		}
	})
}

// FuzzParse has no checksum to guess.
func FuzzParse(f *testing.F) {
	f.Add([]byte{byte(kindMessage), 1, 's', 'x'})
	f.Add([]byte{byte(kindRequest), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 's'})
	f.Add([]byte{byte(kindMessage), 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		var f frame
		if parse(b, &f) != nil {
			return
		}
		var again []byte
		switch f.kind {
		case kindMessage:
			again = append(appendMessageHeader(nil, string(f.name)), f.body...)
		case kindRequest:
			again = append(appendRequestHeader(nil, f.id, f.timeout, string(f.name)), f.body...)
		case kindResponse:
			again = append(appendResponseHeader(nil, f.id, f.status), f.body...)
		default:
			return
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("got %x back, want %x", again, b)
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(appendHello(nil, &hello{name: "a", target: "b", maxMessage: 1, maxCalls: 1, keepAlive: 1}))
	f.Add(appendHello(nil, &hello{refused: "no"}))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= helloPrefix+checksumSize {
			b = sealHello(bytes.Clone(b[:len(b)-checksumSize])) // or the checksum hides the rest
		}
		h, err := readHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		if h.check() == nil && (len(h.name) == 0 || len(h.name) > transport.MaxName) {
			t.Fatalf("a name of %d bytes was accepted", len(h.name))
		}
	})
}

func TestHelloOfAnotherProtocol(t *testing.T) {
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PRLY\x01\x01\xff\xff"} {
		_, err := readHello(strings.NewReader(text))
		require.ErrorIs(t, err, errHello, "%q", text)
	}
}

// sealHello appends the checksum.
func sealHello(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
