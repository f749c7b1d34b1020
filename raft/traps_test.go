package raft

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each of these is a bug that somebody shipped, or that this package once had.

// Term and vote saved in two writes: a crash between them would let a server vote
// twice. Every batch has both.
func TestTrapTermAndVoteAreSavedTogether(t *testing.T) {
	s := newSubject(t, 5, 1, 2)
	s.gets(message{Kind: msgVote, From: "b", Term: 6, Index: 2, LogTerm: 2})
	s.gets(message{Kind: msgAppend, From: "b", Term: 6, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 6}}})
	require.Len(t, s.batches, 2)
	for _, b := range s.batches {
		require.Equal(t, uint64(6), b.Hard.Term)
		require.Equal(t, "b", b.Hard.Vote)
	}
}

// Heartbeats take no way of their own: one of a new term enters it as any message
// does, without the old vote, and is answered when the term is saved.
func TestTrapHeartbeatChangesTheTermByTheWay(t *testing.T) {
	s := startSubject(t, testConfig, State{Hard: HardState{Term: 5, Vote: "c", Commit: 1}, Entries: logOf(abc, 1, 2)})
	s.holdDisk = true
	require.Empty(t, s.gets(message{Kind: msgHeartbeat, From: "b", Term: 6, Commit: 2}))
	require.Equal(t, uint64(1), s.commit, "nothing is known of b's log yet")
	b, ok := s.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, HardState{Term: 6, Commit: 1}, b.Hard)
	s.saved(s.now)
	s.flush()
	require.Len(t, s.said, 1)
	require.Equal(t, uint64(6), s.said[0].Term)
}

func TestTrapFollowerAnswersBeforeItHasSynced(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c
		elect a
		disk b manual
		disk c manual
		propose a x
		deliver all
		heartbeat a
		deliver all
		expect commit a 2
		crash b
		restart b
		expect last b 2
		disk b auto
		run 500ms
		expect commit a 3`)
}

// Figure 8: see the transcripts, too. Entry 2 of term 2 is on all servers, and may
// still be replaced as long as nothing of the leader's own term is.
func TestTrapFigure8CommitsEarlierTermByCounting(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	for _, from := range []string{"b", "c"} {
		s.gets(message{Kind: msgAppendReply, From: from, Term: s.term, Index: 2})
	}
	require.Equal(t, uint64(1), s.commit)
}

func TestTrapEmptyAppendCommitsBeyondTheVerifiedPrefix(t *testing.T) {
	s := newSubject(t, 3, 1, 2, 2, 2)
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 2, LogTerm: 2, Commit: 4})
	require.Equal(t, uint64(2), s.commit, "entries 3 and 4 may not be the leader's")
	s.learn(s.now, 4, 4)
	require.Equal(t, uint64(2), s.commit)
}

func TestTrapReadIndexBeforeAnEntryOfTheOwnTerm(t *testing.T) {
	s := newSubject(t, 3, 1, 2, 2).become(leader)
	require.NoError(t, s.read(s.now, 1))
	s.flush()
	s.gets(message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Round: s.office.round, Index: 3, Hint: 3})
	require.Equal(t, uint64(1), s.commit)
	require.Equal(t, []readReady{{1, 4}}, s.reads, "not before the entry that begins its term is applied")
}

// Contexts of reads that are used again: numbers of rounds begin anew with each
// term, and an answer of an earlier term is not looked at.
func TestTrapReadContextsOfAnEarlierTerm(t *testing.T) {
	s := newSubject(t, 3, 1, 2).become(leader)
	old := message{Kind: msgHeartbeatReply, From: "b", Term: s.term, Round: 1, Index: 2, Hint: 2}
	s.gets(message{Kind: msgHeartbeat, From: "c", Term: s.term + 1})
	s.now += 3 * time.Second
	s.become(leader)
	require.NoError(t, s.read(s.now, 1))
	s.flush()
	require.Equal(t, uint64(1), s.office.round)
	s.gets(old)
	require.Empty(t, s.reads)
}

// A lease does not outlive the wish to hand over, even if the transfer fails.
func TestTrapLeaseReadDuringTransfer(t *testing.T) {
	s := newScene(t)
	s.play(`
		set lease 900ms
		cluster a b c
		elect a
		read a 1
		expect read 1 2
		transfer a b
		deliver a->b
		deliver b->c
		deliver c->b
		expect role b leader
		propose b x
		deliver b->c
		deliver c->b
		deliver b->c
		deliver c->b
		expect commit b 4
		expect role a leader
		read a 2
		expect read 2 waiting
		deliver all
		expect read 2 lost`)
}

// A clock that jumps, as of a process that stood still: the leader that wakes up
// does not answer from a lease that ran out in its sleep.
func TestTrapLeaseReadAfterAPause(t *testing.T) {
	s := newScene(t)
	s.play(`
		set lease 900ms
		cluster a b c
		elect a
		cut a
		wait 2s
		timeout b
		deliver all
		propose b x
		deliver all
		expect role b leader
		expect role a leader
		read a 1
		expect read 1 waiting
		tick a 100ms
		expect read 1 lost`)
}

func TestTrapSnapshotKeepsAConflictingEntry(t *testing.T) {
	s := newSubject(t, 4, 1, 2, 2, 2, 2)
	info := SnapshotInfo{Index: 3, Term: 3, Membership: abcMembership()}
	offered(t, s, info)
	s.installed(s.now, info)
	s.flush()
	require.Equal(t, uint64(3), s.last())
	reply := s.answer(message{Kind: msgAppend, From: "b", Term: 4, Index: 5, LogTerm: 2})
	require.True(t, reply.Reject, "entries 4 and 5 of term 2 are gone")
}

func TestTrapSnapshotKeepsTheOldMembership(t *testing.T) {
	s := newSubject(t, 4, 1, 2)
	info := SnapshotInfo{Index: 9, Term: 3, Membership: snapMembership}
	offered(t, s, info)
	s.installed(s.now, info)
	require.Equal(t, snapMembership.Voters, s.membership().Voters)
	require.NotNil(t, s.peer("d"))
	require.Nil(t, s.peer("c"))
}

func TestTrapOlderSnapshotReplacesANewerState(t *testing.T) {
	s := newSubject(t, 4, 1, 2, 2, 2)
	s.gets(message{Kind: msgSnapshot, From: "b", Term: 4, Index: 3, LogTerm: 2})
	require.NotZero(t, s.fetch.Index)
	// While it is being fetched, entries come after all.
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 4, LogTerm: 2, Commit: 4})
	require.Equal(t, uint64(4), s.commit)
	info := SnapshotInfo{Index: 3, Term: 2, Membership: snapMembership}
	require.False(t, s.beginInstall(s.now, info))
	require.Zero(t, s.fetch.Index)
	// An offer of what is committed is acknowledged, not fetched.
	reply := s.answer(message{Kind: msgSnapshot, From: "b", Term: 4, Index: 3, LogTerm: 2})
	require.Equal(t, msgAppendReply, reply.Kind)
	require.Equal(t, uint64(4), reply.Index)
	require.Zero(t, s.fetch.Index)
	s.snapshotted(info)
	s.snapshotted(SnapshotInfo{Index: 2, Term: 2})
	require.Equal(t, uint64(3), s.snap.Index)
}

// ABA: entry 3 of term 3 is being written; it is replaced by one of term 4, and then
// by the one of term 3 again. The completion of the first write vouches for neither:
// the disk may have got the second one by then.
func TestTrapABACompletionOfAnOvertakenWrite(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.holdDisk = true
	replace := func(from string, term, entry uint64) {
		s.gets(message{Kind: msgAppend, From: from, Term: term, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: entry}}})
	}
	replace("b", 3, 3)
	b, ok := s.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, uint64(3), b.Entries[0].Term)
	replace("c", 4, 4)
	replace("b", 5, 3)
	s.said = nil
	s.saved(s.now)
	s.flush()
	require.Equal(t, uint64(2), s.disk.stable)
	require.False(t, slices.ContainsFunc(s.said, func(m message) bool { return m.Kind == msgAppendReply && m.Index == 3 }))
	b, ok = s.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, Batch{Hard: HardState{Term: 5, Commit: b.Hard.Commit}, Entries: []Entry{{Index: 3, Term: 3}}}, b)
	s.saved(s.now)
	s.flush()
	require.True(t, slices.ContainsFunc(s.said, func(m message) bool { return m.Kind == msgAppendReply && m.To == "b" && m.Index == 3 }))
}

// The same with a snapshot: a write of entries that it swept away is completed
// after the log began anew.
func TestTrapABAWithASnapshot(t *testing.T) {
	s := newSubject(t, 4, 1, 2)
	s.holdDisk = true
	s.gets(message{Kind: msgAppend, From: "b", Term: 4, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 4}, {Index: 4, Term: 4}}})
	_, ok := s.takeBatch(nil)
	require.True(t, ok)
	s.gets(message{Kind: msgHeartbeat, From: "c", Term: 5})
	info := SnapshotInfo{Index: 3, Term: 5, Membership: abcMembership()}
	s.gets(message{Kind: msgSnapshot, From: "c", Term: 5, Index: 3, LogTerm: 5})
	require.True(t, s.beginInstall(s.now, info))
	s.installed(s.now, info)
	s.gets(message{Kind: msgAppend, From: "c", Term: 5, Index: 3, LogTerm: 5, Entries: []Entry{{Index: 4, Term: 5}}})
	s.saved(s.now)
	require.Equal(t, uint64(3), s.disk.stable, "entry 4 on the disk is another one")
	b, ok := s.takeBatch(nil)
	require.True(t, ok)
	require.Equal(t, uint64(4), b.Restart)
	require.Equal(t, []Entry{{Index: 4, Term: 5}}, b.Entries)
}

func TestTrapMembershipChangeBeforeAnOwnTermCommit(t *testing.T) {
	s := newScene(t)
	s.play(`
		given voters a b c
		given a term=2 commit=2 log=1,2
		given b term=2 commit=2 log=1,2
		given c term=2 commit=2 log=1,2
		timeout a
		deliver a->b
		deliver b->a
		deliver a->b
		deliver b->a
		expect leader a
		reconfigure a a b
		expect members a a b c
		deliver all
		reconfigure a a b
		expect members a a b & a b c`)
}

// Removing the leader, and one of two: see the transcripts, too.
func TestTrapRemovingTheLeader(t *testing.T) {
	for _, stay := range []string{"b", "b c", "b c d"} {
		t.Run(stay, func(t *testing.T) {
			s := newScene(t)
			s.play("cluster a " + stay + "\nelect a\nreconfigure a " + stay + "\nrun 3s")
			require.Contains(t, stay, s.leader())
			s.do("propose " + s.leader() + " x")
			s.do("run 500ms")
			require.Equal(t, follower, s.core("a").role)
			s.do("expect members b " + stay)
			require.Equal(t, "x", string(s.core("b").log.at(s.core("b").commit).Data))
			before := s.core("b").term
			s.do("run 20s")
			require.Equal(t, before, s.core("b").term, "the removed leader disturbs nobody")
		})
	}
}

// At every single point of the removal of the leader of two, it may crash and
// come back: one of them leads in the end, and the change is either made or not.
func TestTrapRemovingOneOfTwoNeverDeadlocks(t *testing.T) {
	for _, stays := range []string{"a", "b"} {
		for crashed := range 2 {
			for steps := range 14 {
				s := newScene(t)
				s.play("cluster a b\nelect a\nreconfigure a " + stays)
				for range steps {
					s.deliver("", "")
				}
				name := string("ab"[crashed])
				s.do("drop all")
				s.do("crash " + name)
				s.do("run 3s")
				s.do("restart " + name)
				s.do("run 10s")
				lead := s.leader()
				require.NotEqual(t, "none", lead, "stays %s, crash of %s after %d messages", stays, name, steps)
				s.do("propose " + lead + " x")
				s.do("run 500ms")
				c := s.core(lead)
				require.Equal(t, c.last(), c.commit)
				require.False(t, c.changing())
				if !t.Failed() && len(c.membership().Voters) == 1 {
					require.Equal(t, stays, c.membership().Voters[0])
				}
			}
		}
	}
}

// A partitioned server comes back, again and again: the leader and the term stay.
func TestTrapPartitionedServerDisrupts(t *testing.T) {
	s := newScene(t)
	s.play("cluster a b c\nelect a")
	for range 5 {
		s.play("cut c\nrun 7s\nheal\nrun 1s")
		s.play("expect leader a\nexpect term a 2\nexpect term c 2")
	}
}

// A removed server that does not know it has an ever higher term on its mind.
func TestTrapRemovedServerDisrupts(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c d
		elect a
		cut d
		reconfigure a a b c
		run 1s
		heal
		run 30s
		expect leader a
		expect term a 2
		expect members d a b c d`)
}

// A server of a higher term with a worse log, and two of a lower term with the
// better one: neither the question before the vote nor loyalty may lock them out.
func TestTrapPreVoteDeadlockWithALowerTerm(t *testing.T) {
	for _, lease := range []string{"", "set lease 900ms"} {
		s := newScene(t)
		s.play(lease)
		s.play(`
			given voters a b c
			given a term=2 commit=1 log=1,2,2
			given b term=2 commit=1 log=1,2
			given c term=9 commit=1 log=1
			crash b
			run 15s
			expect leader a
			restart b
			run 1s
			expect log c 1,2,2,10`)
	}
}

// A leader that hears nobody of a higher term, because it does not listen to their
// questions, still learns that they went on without it.
func TestTrapHigherTermFollowerIsStuckWithTheOldLeader(t *testing.T) {
	s := newScene(t)
	s.play(`
		given voters a b c
		given a term=2 commit=2 log=1,2
		given b term=2 commit=2 log=1,2
		given c term=5 commit=2 log=1,2
		cut c
		run 3s
		heal
		run 3s`)
	lead := s.leader()
	require.NotEqual(t, "none", lead)
	require.Greater(t, s.core(lead).term, uint64(5))
	require.Equal(t, lead, s.core("c").leader)
}

func TestTrapLearnerThatMustVote(t *testing.T) {
	s := newScene(t)
	// b and c have made d a voter in place of a; d has not heard of it, and takes
	// itself for a learner. c is gone: b cannot be elected without d's vote.
	s.play(`
		cluster a b c | d
		elect a
		cut d
		reconfigure a b c d
		deliver all
		expect members b b c d
		expect members d a b c | d
		crash a
		crash c
		crash b
		restart b
		run 5s
		expect leader none
		heal
		run 5s
		expect leader b
		expect members d b c d`)
}

func TestTrapLeaderWithABrokenDiskKeepsWinning(t *testing.T) {
	s := newScene(t)
	s.play("cluster a b c\nelect a\nfail a\nrun 10s\nexpect role a follower")
	lead := s.leader()
	require.Contains(t, []string{"b", "c"}, lead)
	s.do("propose " + lead + " x")
	s.do("run 1s")
	require.Equal(t, s.core(lead).last(), s.core(lead).commit)
	c := s.core("a")
	require.Greater(t, c.wake(), s.now+time.Minute)
	before := c.last()
	c.step(s.now, &message{Kind: msgVote, From: lead, Term: 99, Index: 99, LogTerm: 98})
	c.step(s.now, &message{Kind: msgTimeoutNow, From: lead, Term: 99})
	c.tick(s.now + time.Hour)
	require.Empty(t, c.messages)
	require.Equal(t, before, c.last())
	_, ok := c.takeBatch(nil)
	require.False(t, ok)
}

// A follower that lost its disk comes back under its name: it neither votes for a
// log that may lack what it once acknowledged, nor counts for what it lost; with
// restarts of it in between, too.
func TestTrapLostDiskRejoins(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c
		elect a
		cut b
		propose a x
		deliver all
		expect commit a 3
		crash a
		wipe c
		heal
		run 5s
		expect leader none
		crash c
		restart c
		run 5s
		expect leader none
		restart a
		run 5s`)
	lead := s.leader()
	require.NotEqual(t, "none", lead)
	s.play("run 1s\nexpect log c 1,2,2," + itoa(s.core(lead).term))
	s.play("crash a\nrun 10s")
	require.NotEqual(t, "none", s.leader(), "c votes again")
}

// The leader stops counting what a follower once acknowledged when it has lost it.
func TestTrapLostDiskStillCounts(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c
		elect a
		propose a x y
		deliver all
		expect commit a 4
		wipe c
		cut b
		heartbeat a
		deliver all
		heartbeat a
		deliver all
		expect log c 1,2,2,2`)
	require.Equal(t, uint64(4), s.core("a").peer("c").match)
}

func TestTrapTransferThatTimesOutLeavesTheLeaderRefusing(t *testing.T) {
	s := newScene(t)
	s.play(`
		cluster a b c
		elect a
		cut b
		transfer a b
		propose a x
		expect last a 2
		run 1100ms
		propose a x
		run 300ms
		expect leader a
		expect commit a 3
		heal
		transfer a c
		run 300ms
		expect leader c`)
}

// A lost acknowledgement, with nothing more to send: heartbeats bring it again.
// Commitment would wait for ever, and the window fill up.
func TestTrapLostAcknowledgementIsRepeated(t *testing.T) {
	s := newScene(t)
	s.play("set inflight 3\ncluster a b c\nelect a\ncrash c")
	for range 5 {
		s.play("propose a x\ndeliver a->b\ndrop b->a")
		s.play("heartbeat a\ndeliver all")
		require.Equal(t, s.core("a").last(), s.core("a").commit)
	}
	s.play("propose a x\npropose a y\npropose a z\npropose a w\ndeliver to b\ndrop to a\nrun 300ms")
	require.Equal(t, s.core("a").last(), s.core("a").commit)
	require.Zero(t, s.core("a").peer("b").sent.n)
}

// A saved commit index beside a log that is about to be replaced: the storage may
// save the hard state first, and crash. b has entries 2 and 3 of term 2 on its disk,
// and learns in one go that term 3 has others, which are committed.
func TestTrapCommitIsSavedAheadOfItsEntries(t *testing.T) {
	old := logOf(abc, 1, 2, 2)
	s := startSubject(t, testConfig, State{Hard: HardState{Term: 2, Commit: 1}, Entries: old})
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3})
	s.holdDisk = true
	s.gets(message{Kind: msgAppend, From: "b", Term: 3, Index: 1, LogTerm: 1, Commit: 3, Entries: []Entry{{Index: 2, Term: 3}, {Index: 3, Term: 3}}})
	require.Equal(t, uint64(3), s.commit)
	b, ok := s.takeBatch(nil)
	require.True(t, ok)
	crashed := startSubject(t, testConfig, State{Hard: b.Hard, Entries: old})
	require.Equal(t, uint64(1), crashed.commit, "entry 3 of term 2 was never committed")
}

// A server applies, and takes a snapshot of, what its own disk does not hold yet.
// What is compacted must not be missing from what is still to be saved.
func TestTrapCompactionOvertakesTheDisk(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.gets(message{Kind: msgHeartbeat, From: "b", Term: 3})
	s.holdDisk = true
	s.gets(message{Kind: msgAppend, From: "b", Term: 3, Index: 2, LogTerm: 2, Commit: 4, Entries: []Entry{{Index: 3, Term: 3}, {Index: 4, Term: 3}}})
	require.Equal(t, uint64(4), s.commit)
	s.snapshotted(s.infoAt(4))
	s.compact(4)
	b, ok := s.takeBatch(nil) // runs for ever, or leaves a gap, if they are gone
	require.True(t, ok)
	require.Equal(t, uint64(3), b.Entries[0].Index)
	require.Len(t, b.Entries, 2)
	s.saved(s.now)
	s.compact(4)
	require.Equal(t, uint64(5), s.first())
}

// A leader of the same term contradicts itself, which no correct one does: what
// was verified before does not commit what is there now.
func TestTrapContradictionWithinATerm(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.gets(message{Kind: msgAppend, From: "b", Term: 5, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 4}, {Index: 4, Term: 4}}})
	s.gets(message{Kind: msgAppend, From: "b", Term: 5, Index: 2, LogTerm: 2, Entries: []Entry{{Index: 3, Term: 5}}, Commit: 4})
	require.Equal(t, uint64(3), s.last())
	require.Equal(t, uint64(3), s.commit)
}

// The leader's log contradicts what is committed here: servers of two clusters, or
// a majority without its disks. To go on would be to lie.
func TestTrapCommittedEntryIsReplaced(t *testing.T) {
	s := startSubject(t, testConfig, State{Hard: HardState{Term: 3, Commit: 2}, Entries: logOf(abc, 1, 2)})
	s.step(s.now, &message{Kind: msgAppend, From: "b", Term: 4, Index: 1, LogTerm: 1, Entries: []Entry{{Index: 2, Term: 4}}})
	require.ErrorIs(t, s.failure, errReplaced)
	require.True(t, s.failed)
	require.Equal(t, uint64(2), s.last())
	term, _ := s.log.term(2)
	require.Equal(t, uint64(2), term)
}

// Messages that wait for the disk are bounded, however long it takes.
func TestTrapSlowDiskHoardsMessages(t *testing.T) {
	s := newSubject(t, 3, 1, 2)
	s.holdDisk = true
	for range 1000 {
		s.now += time.Second
		s.gets(message{Kind: msgHeartbeat, From: "b", Term: 4})
		s.gets(message{Kind: msgPreVote, From: "c", Term: 5, Index: 2, LogTerm: 2})
	}
	require.Less(t, len(s.disk.held), 10)
}

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
