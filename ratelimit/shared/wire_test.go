package shared

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMessagesAreBounded(t *testing.T) {
	q := request{
		life: math.MaxUint64, number: math.MaxUint64, key: strings.Repeat("k", MaxKey),
		held: maxTokens, returned: maxTokens, need: maxTokens, wanted: maxTokens, batch: maxTokens,
	}
	data := q.append(nil)
	require.LessOrEqual(t, len(data), MaxKey+80)
	var got request
	require.NoError(t, got.decode(data))
	require.Equal(t, q, got)
	q.key += "k"
	require.ErrorIs(t, got.decode(q.append(nil)), errMalformed)
	p := response{statusFull, maxTokens, maxTokens, maxTokens, maxTokens, maxTokens}
	require.LessOrEqual(t, len(p.append(nil)), 80)
}

func FuzzRequest(f *testing.F) {
	full := request{life: 7, number: 300, key: "user:42", held: 1, returned: 200, need: 3, wanted: 40, batch: 5}
	f.Add(full.append(nil))
	f.Add([]byte{})
	f.Add([]byte{wireFormat, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var q, again request
		if q.decode(data) != nil {
			return
		}
		require.NoError(t, again.decode(q.append(nil)))
		require.Equal(t, q, again)
		l := testLedger()
		for now := long; now < long+2*second; now += second {
			l.exchange(now, 0, "a", &q, 3)
			q.number++
			for _, e := range l.order {
				require.GreaterOrEqual(t, e.tokens, int64(0))
				require.LessOrEqual(t, e.tokens+e.out, l.burst)
			}
		}
	})
}

func FuzzResponse(f *testing.F) {
	full := response{statusGranted, 1, 200, 3, 1 << 40, 5}
	f.Add(full.append(nil))
	f.Add([]byte{wireFormat, byte(statusEnd), 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, again response
		if p.decode(data) != nil {
			return
		}
		require.NoError(t, again.decode(p.append(nil)))
		require.Equal(t, p, again)
		a := account{held: 5, until: second}
		a.granted(0, 0, &request{wanted: 9, need: 2}, &p)
		require.GreaterOrEqual(t, a.held, int64(0))
		require.Positive(t, a.wait(0, 1<<31-1, rate{1, math.MaxInt64}))
	})
}
