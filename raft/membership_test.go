package raft

import (
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The stored form is in logs for good.
func TestMembershipFormIsFrozen(t *testing.T) {
	m := Membership{Voters: []string{"c", "a", "b"}, Learners: []string{"d"}, Outgoing: []string{"e", "a"}}
	data, err := m.AppendBinary([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, "78"+"01"+"03"+"0161"+"0162"+"0163"+"01"+"0164"+"02"+"0161"+"0165", hex.EncodeToString(data))
	require.Equal(t, []string{"c", "a", "b"}, m.Voters, "the caller's order stays")
	var got Membership
	require.NoError(t, got.UnmarshalBinary(data[1:]))
	require.Equal(t, m.clone(), got)
}

func TestMembershipFormIsStrict(t *testing.T) {
	for name, form := range map[string]string{
		"nothing":            "",
		"another version":    "02000000",
		"a list missing":     "010000",
		"more behind":        "0100000000",
		"an empty name":      "0101000000",
		"out of order":       "01020162016100" + "00",
		"a name twice":       "01020161016100" + "00",
		"a name cut":         "01010561" + "0000",
		"too many":           "01" + "8002" + "0000",
		"a length of ages":   "0101" + "ffffffffffffffffff01" + "0000",
		"a count of ages":    "01" + "ffffffffffffffffff01" + "0000",
		"a number too large": "01" + "ffffffffffffffffffff7f",
	} {
		t.Run(name, func(t *testing.T) {
			data, err := hex.DecodeString(form)
			require.NoError(t, err)
			m := Membership{Voters: []string{"kept"}}
			require.Error(t, m.UnmarshalBinary(data))
			require.Equal(t, Membership{Voters: []string{"kept"}}, m, "a failure changes nothing")
		})
	}
}

func FuzzMembership(f *testing.F) {
	for _, m := range []Membership{{}, {Voters: abc}, {Voters: abc, Learners: []string{"d"}, Outgoing: []string{"a", "e"}}} {
		data, _ := m.AppendBinary(nil)
		f.Add(data)
	}
	f.Add([]byte{1, 255, 1})
	f.Add([]byte{1, 1, 200, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Membership
		if m.UnmarshalBinary(data) != nil {
			return
		}
		again, err := m.AppendBinary(nil)
		require.NoError(t, err)
		var same Membership
		require.NoError(t, same.UnmarshalBinary(again))
		require.Equal(t, m, same)
		require.LessOrEqual(t, len(again), len(data), "numbers may have been written longer")
	})
}

func TestMembershipTellsItsMembers(t *testing.T) {
	m := Membership{Voters: []string{"a", "b"}, Learners: []string{"c"}, Outgoing: []string{"b", "d"}}
	for name, want := range map[string][2]bool{"a": {true, true}, "b": {true, true}, "c": {false, true}, "d": {true, true}, "e": {false, false}} {
		require.Equal(t, want, [2]bool{m.IsVoter(name), m.Contains(name)}, name)
	}
	c := m.clone()
	c.Voters[0], c.Learners[0], c.Outgoing[0] = "x", "x", "x"
	require.Equal(t, Membership{Voters: []string{"a", "b"}, Learners: []string{"c"}, Outgoing: []string{"b", "d"}}, m)
}

// What majorities have reached is the highest value v for which more than half of
// the voters, in each configuration, are at v or above: counted here for every
// value, against random servers.
func TestReachedIsWhatMajoritiesHave(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	for range 1000 {
		names := strings.Split("a b c d e f g h i", " ")
		pick := func() (some []string) {
			for _, name := range names {
				if rnd.IntN(2) == 0 {
					some = append(some, name)
				}
			}
			return some
		}
		m := Membership{Voters: pick(), Outgoing: pick()}
		if len(m.Voters) == 0 {
			continue
		}
		value := map[string]uint64{}
		c := &core{coreConfig: coreConfig{id: "a"}, configs: []placedMembership{{0, m}}}
		for _, name := range names {
			value[name] = rnd.Uint64N(6)
		}
		c.rebuildPeers()
		got := c.reached(func(p *peer) uint64 {
			if p == nil {
				return value["a"]
			}
			return value[p.name]
		})
		has := func(voters []string, v uint64) bool {
			n := 0
			for _, name := range voters {
				if value[name] >= v {
					n++
				}
			}
			return len(voters) == 0 || 2*n > len(voters)
		}
		want := uint64(0)
		for v := range uint64(6) {
			if has(m.Voters, v) && has(m.Outgoing, v) {
				want = v
			}
		}
		require.Equal(t, want, got, "%+v with %v", m, value)
	}
}

// Any two majorities of one configuration share a voter, and every decision of a
// joint one shares a voter with every decision of both its parts (section 4.3).
func TestMajoritiesOverlap(t *testing.T) {
	names := strings.Split("a b c d e", " ")
	decides := func(m *Membership, who int) bool {
		return m.majorities(func(voters []string) bool {
			n := 0
			for i, name := range names {
				if who&(1<<i) != 0 && slices.Contains(voters, name) {
					n++
				}
			}
			return n > len(voters)/2
		})
	}
	sets := 1 << len(names)
	subset := func(bits int) (some []string) {
		for i, name := range names {
			if bits&(1<<i) != 0 {
				some = append(some, name)
			}
		}
		return some
	}
	for old := 1; old < sets; old++ {
		for new := 1; new < sets; new++ {
			before, after := Membership{Voters: subset(old)}, Membership{Voters: subset(new)}
			joint := before.next(after)
			require.Equal(t, old == new, !joint.joint())
			for x := range sets {
				if !decides(&joint, x) {
					continue
				}
				require.False(t, decides(&before, ^x&(sets-1)), "%v decides %v, and the others %v", subset(x), joint, before)
				require.False(t, decides(&after, ^x&(sets-1)), "%v decides %v, and the others %v", subset(x), joint, after)
			}
		}
	}
	none := &Membership{}
	require.False(t, decides(none, sets-1), "nobody decides for a joiner")
}
