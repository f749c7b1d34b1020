package raft

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Session has commands applied exactly once, however often they have to be
// proposed (section 6.3): every command has a number, and the group keeps the
// results of those that are not known to have arrived. Make it with
// Node.NewSession. All methods are safe for concurrent use.
//
// The group keeps MaxSessions sessions; the one that was used the longest ago
// makes room for a new one. So a Session is for a client that lives long, not for
// a request. It is not ended, it is forgotten.
type Session struct {
	node *Node
	id   uint64

	mu       sync.Mutex
	last     uint64        // the last number given out
	underWay []uint64      // in order
	freed    chan struct{} // closed when one ends; nil if nobody waits
}

// NewSession opens a session. Its cost is that of a Propose; the errors are those
// of Session.Propose.
func (n *Node) NewSession(ctx context.Context) (*Session, error) {
	result, err := n.insist(ctx, appendSessionOpen(nil))
	if err != nil {
		return nil, err
	}
	if len(result) != 8 {
		return nil, fmt.Errorf("%w: the number of a session", errMalformed)
	}
	return &Session{node: n, id: binary.LittleEndian.Uint64(result)}, nil
}

// appendSessionID returns the result of an entry that opens a session.
func appendSessionID(id uint64) []byte { return binary.LittleEndian.AppendUint64(nil, id) }

// Propose is like Node.Propose, but goes on where that returns ErrUncertain: it
// proposes the command again until its outcome is known or ctx ends. The state
// machine sees it once at most, and if err is nil, exactly once. Of concurrent
// commands of one session the order is not given; MaxOutstanding may be under
// way, and one more waits.
//
// The errors are ErrDropped, with what Node.Propose gives with it; ErrUncertain
// with the error of ctx, ErrClosed, ErrFailed or ErrRemoved; and ErrSessionExpired,
// after which the session is of no more use: the command was not applied, unless it
// comes with ErrUncertain, because it was sent several times and an earlier one may
// have been. ErrResultDropped says that the command was applied, once, but that its
// result was lost on the way here and is not kept any more: see MaxSessionBytes.
func (s *Session) Propose(ctx context.Context, command []byte) (result []byte, err error) {
	seq, lowest, err := s.begin(ctx)
	if err != nil {
		return nil, dropped(err)
	}
	defer s.end(seq)
	return s.node.ProposeOnce(ctx, CommandID{s.id, seq, lowest}, command)
}

// ID returns the number of the session, for a CommandID.
func (s *Session) ID() uint64 { return s.id }

// A CommandID names a command of a session, for who numbers them himself: a
// client elsewhere that proposes through one node, and through another after the
// first has died.
type CommandID struct {
	Session uint64 // Session.ID
	Seq     uint64 // of the command, from 1 on, another for each command
	// Lowest is the lowest number whose outcome the client still wants to know:
	// from 1 to Seq, and less than MaxOutstanding below Seq. What is below is
	// forgotten, and ErrSessionExpired from then on.
	Lowest uint64
}

// ProposeOnce is Session.Propose with the number given by the caller. The same
// command with the same number may be proposed again, on any node: it is applied
// once, and every time its first result is returned, or ErrResultDropped. Its errors
// are those of Session.Propose; a number out of bounds is dropped.
func (n *Node) ProposeOnce(ctx context.Context, id CommandID, command []byte) (result []byte, err error) {
	if len(command) > n.config.MaxCommand {
		return nil, n.tooLarge(len(command))
	}
	if id.Lowest < 1 || id.Lowest > id.Seq || id.Seq-id.Lowest >= MaxOutstanding {
		return nil, fmt.Errorf("%w: raft: CommandID: Lowest is %d, it must be 1 to Seq, %d, and less than %d below", ErrDropped, id.Lowest, id.Seq, MaxOutstanding)
	}
	result, err = n.insist(ctx, appendSessionCommand(make([]byte, 0, len(command)+sessionHead), id, command))
	return bytes.Clone(result), err // the table of the leader keeps the original
}

// begin gives the next number out, once it is less than MaxOutstanding above the
// lowest that is under way: the group keeps no results beyond that.
func (s *Session) begin(ctx context.Context) (seq, lowest uint64, err error) {
	s.mu.Lock()
	for len(s.underWay) > 0 && s.last+1-s.underWay[0] >= MaxOutstanding {
		if s.freed == nil {
			s.freed = make(chan struct{})
		}
		freed := s.freed
		s.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return 0, 0, contextError(ctx)
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	s.last++
	s.underWay = append(s.underWay, s.last)
	return s.last, s.underWay[0], nil
}

func (s *Session) end(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, found := slices.BinarySearch(s.underWay, seq); found {
		s.underWay = slices.Delete(s.underWay, i, i+1)
	}
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
}

// insist proposes a session's entry until its fate is known, or ctx ends.
func (n *Node) insist(ctx context.Context, data []byte) ([]byte, error) {
	unknown := false // an earlier try may have been applied, or may still be
	for {
		result, err := n.propose(ctx, EntrySession, data)
		var last error // why there is no further try
		switch {
		case err == nil:
			return result, nil
		case errors.Is(err, ErrResultDropped):
			return nil, ErrResultDropped // by an earlier try, or another caller's
		case errors.Is(err, ErrSessionExpired):
			last = ErrSessionExpired
		case errors.Is(err, ErrTooLarge):
			last = ErrTooLarge // on this leader: the one before may have taken it
		case errors.Is(err, ErrClosed):
			last = ErrClosed
		case errors.Is(err, ErrFailed):
			last = ErrFailed
		case errors.Is(err, ErrRemoved):
			last = ErrRemoved
		case ctx.Err() != nil:
			last = contextError(ctx)
		}
		switch {
		case last != nil && unknown:
			return nil, uncertain(last)
		case last != nil, errors.Is(err, ErrOverloaded) && !unknown:
			return nil, err
		}
		unknown = unknown || errors.Is(err, ErrUncertain)
		timer := time.NewTimer(n.config.Heartbeat)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}
