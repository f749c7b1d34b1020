package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-go/parley/transport"
)

// MaxMembers is how many nodes a membership may name.
const MaxMembers = 255

// check says what is wrong with a membership that is to come into force.
func (m Membership) check() error {
	if len(m.Voters) == 0 {
		return fmt.Errorf("%w: it has no voters", ErrMembership)
	}
	if len(m.Outgoing) > 0 {
		return fmt.Errorf("%w: Outgoing is set by the change itself", ErrMembership)
	}
	all := slices.Concat(m.Voters, m.Learners)
	if len(all) > MaxMembers {
		return fmt.Errorf("%w: it names %d nodes, at most %d may be", ErrMembership, len(all), MaxMembers)
	}
	slices.Sort(all)
	for i, name := range all {
		if err := transport.CheckName("node", name); err != nil {
			return fmt.Errorf("%w: %w", ErrMembership, err)
		}
		if i > 0 && all[i-1] == name {
			return fmt.Errorf("%w: it names %q twice", ErrMembership, name)
		}
	}
	return nil
}

func (m Membership) joint() bool { return len(m.Outgoing) > 0 }

// majorities calls ok with each set of voters that has to agree, and reports
// whether all of them do.
func (m *Membership) majorities(ok func(voters []string) bool) bool {
	return len(m.Voters) > 0 && ok(m.Voters) && (len(m.Outgoing) == 0 || ok(m.Outgoing))
}

// equal compares memberships whose lists are sorted, as clone returns them.
func (m Membership) equal(o Membership) bool {
	return slices.Equal(m.Voters, o.Voters) && slices.Equal(m.Learners, o.Learners) && slices.Equal(m.Outgoing, o.Outgoing)
}

// next returns the first configuration on the way from one to another: a joint
// one, unless the voters stay the same.
func (m Membership) next(to Membership) Membership {
	to = to.clone()
	if !slices.Equal(m.Voters, to.Voters) {
		to.Outgoing = slices.Clone(m.Voters)
	}
	return to
}

const membershipVersion = 1

// AppendBinary appends the stored form of the membership to b. Equal memberships
// have equal forms. It never fails.
func (m Membership) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, membershipVersion)
	for _, list := range [][]string{m.Voters, m.Learners, m.Outgoing} {
		list = slices.Sorted(slices.Values(list))
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, name := range list {
			b = binary.AppendUvarint(b, uint64(len(name)))
			b = append(b, name...)
		}
	}
	return b, nil
}

var errMembershipForm = errors.New("raft: malformed membership")

// UnmarshalBinary reads what AppendBinary wrote. It takes at most MaxMembers
// names a list, and allocates no more than a small multiple of data.
func (m *Membership) UnmarshalBinary(data []byte) error {
	if len(data) == 0 || data[0] != membershipVersion {
		return errMembershipForm
	}
	data = data[1:]
	var lists [3][]string
	for i := range lists {
		n, k := binary.Uvarint(data)
		if k <= 0 || n > MaxMembers {
			return errMembershipForm
		}
		data = data[k:]
		for range n {
			size, k := binary.Uvarint(data)
			if k <= 0 || size == 0 || size > transport.MaxName || size > uint64(len(data)-k) {
				return errMembershipForm
			}
			name := string(data[k : k+int(size)])
			if l := lists[i]; len(l) > 0 && l[len(l)-1] >= name {
				return errMembershipForm
			}
			lists[i] = append(lists[i], name)
			data = data[k+int(size):]
		}
	}
	if len(data) > 0 {
		return errMembershipForm
	}
	*m = Membership{Voters: lists[0], Learners: lists[1], Outgoing: lists[2]}
	return nil
}
