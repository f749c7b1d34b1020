package raft

import "fmt"

// A messageKind says what a message is. The numbers travel: they do not change.
type messageKind uint8

const (
	msgAppend         messageKind = 1  // leader: entries after Index, which has LogTerm (AppendEntries, section 3.5)
	msgAppendReply    messageKind = 2  // Index is durable up to there; with Reject, where to try again
	msgHeartbeat      messageKind = 3  // leader: I lead; Commit never above what the receiver is known to hold; who holds all up to Hint need not answer, unless it is 0
	msgHeartbeatReply messageKind = 4  // Index is received, up to Hint durably
	msgPreVote        messageKind = 5  // would you vote for me in Term? (section 9.6)
	msgPreVoteReply   messageKind = 6  // Term is the one asked for, or with Reject the receiver's own
	msgVote           messageKind = 7  // RequestVote (section 3.4); my log ends at Index with LogTerm
	msgVoteReply      messageKind = 8  //
	msgTimeoutNow     messageKind = 9  // leader: stand for election at once (section 3.10)
	msgSnapshot       messageKind = 10 // leader: fetch my snapshot at Index with LogTerm (section 5.3)
)

func (k messageKind) String() string {
	names := [...]string{
		msgAppend: "append", msgAppendReply: "append-reply", msgHeartbeat: "heartbeat", msgHeartbeatReply: "heartbeat-reply",
		msgPreVote: "pre-vote", msgPreVoteReply: "pre-vote-reply", msgVote: "vote", msgVoteReply: "vote-reply",
		msgTimeoutNow: "timeout-now", msgSnapshot: "snapshot",
	}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("messageKind(%d)", uint8(k))
}

// A message is what cores say to each other. Fields that a kind does not use
// are zero.
type message struct {
	Kind messageKind
	From string // filled in by the receiver's transport, authenticated; not encoded
	To   string // not encoded
	Term uint64

	Index   uint64 // see the kinds; in a refused append, the index that was refused
	LogTerm uint64 // term of the entry at Index; in a refused append, of that at Hint
	Hint    uint64 // in a refused append: the highest index where the logs may agree; in a heartbeat and its reply: see there
	Commit  uint64
	Round   uint64 // number of the leader's latest round of confirmation; replies echo it (section 6.4)
	Reject  bool
	Force   bool // a vote asked for by the leader itself: leader stickiness does not apply (section 4.2.3)
	Newborn bool // a vote, a question for one, or an answer to the leader: the sender may have lost its disk
	Entries []Entry
}
