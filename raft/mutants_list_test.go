package raft

// mutants are bugs that somebody has shipped in some implementation, or nearly.
var mutants = []mutant{
	// Votes and elections.
	{"vote before durable", "a vote is answered before it is durable", 100, []mutantEdit{
		{"core.go", "	if c.durable() {\n", "	if c.durable() || m.Kind == msgVoteReply {\n"},
	}},
	{"term without its vote", "the term is saved, the vote with the next batch", 100, []mutantEdit{
		{"durable.go", "return d.term == c.term && d.vote == c.vote && ", "return d.term == c.term && "},
	}},
	{"own vote before durable", "a candidate asks, and counts its own vote, before that is durable", 100, []mutantEdit{
		{"core.go", "	if c.durable() {\n", "	if c.durable() || m.Kind == msgVote {\n"},
		{"election.go", "		if c.role == candidate && !c.selfVote {\n", "		if false {\n"},
	}},
	{"two votes a term", "a second candidate of a term gets the vote, too", 1000, []mutantEdit{
		{"election.go", "	case ok && (c.vote == m.From || ", "	case ok && (true || "},
	}},
	{"up to date by index", "the longer log wins an election, whatever its last term", 100, []mutantEdit{
		{"election.go", "	return m.LogTerm > term || m.LogTerm == term && m.Index >= c.log.last()\n", "	return term > 0 && m.Index >= c.log.last()\n"},
	}},
	{"up to date by term", "the later last term wins an election, whatever the length", 100, []mutantEdit{
		{"election.go", "	return m.LogTerm > term || m.LogTerm == term && m.Index >= c.log.last()\n", "	return m.LogTerm >= term\n"},
	}},
	{"stale votes count", "votes of an earlier term are counted", 1000, []mutantEdit{
		{"core.go", "	if m.Term < c.term {\n", "	if m.Term < c.term && m.Kind != msgVoteReply {\n"},
	}},
	{"no stickiness", "a server that hears a leader takes part in elections", 100, []mutantEdit{
		{"election.go", "	return !m.Force && (", "	return m.Kind == 0 && ("},
	}},
	{"no pre-vote", "a server stands without asking first", 100, []mutantEdit{
		{"election.go", "	c.becomeFollower(c.term, \"\")\n	c.role = preCandidate\n", "	c.campaign(false)\n	if c.role != preCandidate {\n		return\n	}\n"},
	}},
	{"one majority of two", "in a joint configuration, the new majority decides alone", 1000, []mutantEdit{
		{"membership.go", "ok(m.Voters) && (len(m.Outgoing) == 0 || ok(m.Outgoing))", "ok(m.Voters)"},
	}},

	// Commitment.
	{"figure 8", "entries of earlier terms are committed by counting", 100, []mutantEdit{
		{"leader.go", "index <= c.commit || term != c.term {", "index <= c.commit || term == 0 {"},
	}},
	{"ack before durable", "a follower acknowledges what it has only received", 100, []mutantEdit{
		{"replicate.go", "	index := min(c.disk.stable, c.verified)\n", "	index := c.verified\n"},
	}},
	{"leader counts itself early", "the leader counts its own log before it is durable", 100, []mutantEdit{
		{"leader.go", "			return c.disk.stable\n", "			return c.log.last()\n"},
	}},
	{"ABA", "the late completion of a batch vouches for entries that took its place", 100, []mutantEdit{
		{"durable.go", "	d.outLast = min(d.outLast, i-1)\n", ""},
	}},
	{"commit beyond the verified prefix", "a follower commits its own entries on the word of an empty append", 100, []mutantEdit{
		{"core.go", "	commit = min(commit, c.verified)\n", "	commit = min(commit, c.log.last())\n"},
	}},
	{"verified by an earlier leader", "what equalled an earlier leader's log counts as equal to the new one's", 1000, []mutantEdit{
		{"core.go", "		c.term, c.vote, c.leader = term, \"\", \"\"\n		c.verified = c.commit\n", "		c.term, c.vote, c.leader = term, \"\", \"\"\n"},
		{"core.go", "	c.leader = name\n	c.verified = c.commit\n", "	c.leader = name\n"},
	}},
	{"unbounded heartbeat", "a heartbeat carries a commit index above what the follower holds", 100, []mutantEdit{
		{"leader.go", "	p.sentCommit = min(c.commit, p.match)\n", "	p.sentCommit = c.commit\n"},
	}},
	{"broken disk", "a server whose disk failed goes on taking part", 100, []mutantEdit{
		{"core.go", "	c.role, c.leader, c.failed = follower, \"\", true\n", "	c.role, c.leader = follower, \"\"\n"},
	}},
	{"old message truncates", "a message that came late truncates entries that match", 100, []mutantEdit{
		{"replicate.go", "		if held && term != entries[n].Term {\n", "		if held && (term != entries[n].Term || entries[n].Index > c.commit) {\n"},
	}},
	{"stale acknowledgements count", "acknowledgements of an earlier term are counted", 1000, []mutantEdit{
		{"core.go", "	if m.Term < c.term {\n", "	if m.Term < c.term && m.Kind != msgAppendReply {\n"},
	}},
	{"commit saved before its entries", "the saved commit index covers entries that are not saved yet", 1000, []mutantEdit{
		{"durable.go", "	return min(c.commit, c.disk.stable)\n", "	return c.commit\n"},
	}},
	{"lost probe", "a probe that was lost is never sent again", 100, []mutantEdit{
		{"replicate.go", "func (c *core) alive(p *peer, m *message) {\n	p.waiting = false\n", "func (c *core) alive(p *peer, m *message) {\n"},
	}},

	// Reads.
	{"read before own commit", "a read is answered before an entry of the own term is committed", 100, []mutantEdit{
		{"reads.go", "index: max(c.commit, o.start)", "index: c.commit"},
	}},
	{"round reused", "a round that began before the read confirms it", 1000, []mutantEdit{
		{"reads.go", "round: o.round + 1}", "round: o.round}"},
	}},
	{"unconfirmed read", "a leader answers reads without asking", 100, []mutantEdit{
		{"reads.go", "o.queries[n].round <= confirmed {", "o.queries[n].round <= max(confirmed, o.round) {"},
	}},
	{"lease during a transfer", "a leader reads by its lease after it asked another one to stand", 1000, []mutantEdit{
		{"reads.go", "	if c.lease == 0 || o.handedOver {\n", "	if c.lease == 0 {\n"},
	}},
	{"lease too long", "a lease outlives the promise of the followers", 1000, []mutantEdit{
		{"reads.go", "c.now-time.Duration(since) < c.lease\n", "c.now-time.Duration(since) < 2*c.election\n"},
	}},
	{"promise forgotten", "a server that restarts votes at once, whatever lease it gave", 1000, []mutantEdit{
		{"core.go", "	if c.lease == 0 || state.Hard.Term == 0 {\n", "	if c.lease >= 0 {\n"},
	}},

	// Snapshots.
	{"conflicting tail", "an installed snapshot keeps entries that contradict it", 1000, []mutantEdit{
		{"replicate.go", "	if term, ok := c.log.term(info.Index); !ok || term != info.Term {\n", "	if _, ok := c.log.term(info.Index); !ok {\n"},
	}},
	{"conflicting tail after a crash", "a restart keeps saved entries that contradict the snapshot", 1000, []mutantEdit{
		{"core.go", "at >= 0 && entries[at].Term != snap.Term || ", ""},
	}},
	{"older snapshot", "an older snapshot replaces a newer state", 1000, []mutantEdit{
		{"replicate.go", "c.role == leader || info.Index <= c.commit {", "c.role == leader {"},
		{"replicate.go", "	if c.failed || info.Index <= c.commit {\n", "	if c.failed {\n"},
	}},
	{"old membership kept", "an installed snapshot leaves the old membership in force", 100, []mutantEdit{
		{"replicate.go", "		c.configs = []placedMembership{{info.Index, info.Membership.clone()}}\n", ""},
	}},
	{"log not restarted", "entries after an installed snapshot are saved behind the old log", 100, []mutantEdit{
		{"replicate.go", "c.disk.restart = info.Index, 0, info.Index+1\n", "c.disk.restart = info.Index, 0, 0\n"},
	}},
	{"installing for ever", "a snapshot that could not be fetched blocks the log", 100, []mutantEdit{
		{"replicate.go", "	c.installing, c.fetch = false, SnapshotInfo{}\n", "	c.fetch = SnapshotInfo{}\n"},
	}},

	// Membership.
	{"change before own commit", "the membership changes before an entry of the own term is committed", 1000, []mutantEdit{
		{"reconfigure.go", "	case c.commit < c.office.start:\n", "	case c.commit == 0:\n"},
	}},
	{"two changes at once", "a change begins before the one before it is committed", 1000, []mutantEdit{
		{"reconfigure.go", "	case c.changing() || c.office.transferee != \"\":\n", "	case c.office.transferee != \"\":\n"},
	}},
	{"no joint configuration", "voters change at one stroke", 100, []mutantEdit{
		{"membership.go", "		to.Outgoing = slices.Clone(m.Voters)\n", ""},
	}},
	{"joint for ever", "a joint configuration is never left", 100, []mutantEdit{
		{"leader.go", "	case latest.joint():\n", "	case latest.joint() && c.commit == 0:\n"},
	}},
	{"membership not reverted", "a truncated configuration stays in force", 1000, []mutantEdit{
		{"replicate.go", "		c.configs = c.configs[:n] // section 4.1: back to the configuration before\n", ""},
	}},
	{"removed leader stays", "a leader that is no longer a voter goes on leading", 1000, []mutantEdit{
		{"reconfigure.go", "	out := !c.membership().IsVoter(c.id)\n", "	out := false\n"},
	}},
	{"removed leader counts itself", "a leader that is no longer a voter counts its own log", 1000, []mutantEdit{
		{"leader.go", "		slices.Sort(values)\n", "		if !slices.Contains(voters, c.id) {\n			values = append(values, of(nil))\n		}\n		slices.Sort(values)\n"},
	}},
	{"transfer never ends", "a transfer that failed leaves the leader refusing commands", 100, []mutantEdit{
		{"leader.go", "		o.transferee = \"\" // it", "		// it"},
		{"leader.go", "		at = min(at, o.transferUntil)\n", ""},
	}},

	// Lost disks.
	{"amnesia unnoticed", "a server without a past votes and is counted", 1000, []mutantEdit{
		{"core.go", "	c.newborn = state.Hard.Commit == 0\n", ""},
	}},
	{"amnesia forgotten", "a server that lost its disk and restarts once more passes for one that knows its past", 1000, []mutantEdit{
		{"core.go", "	c.newborn = state.Hard.Commit == 0\n", "	c.newborn = state.Hard.Term == 0\n"},
	}},
	{"joiners remember", "a server that joined, and lost its disk, passes for one that knows its past", 1000, []mutantEdit{
		{"core.go", "	c.newborn = state.Hard.Commit == 0\n", "	c.newborn = state.Hard.Commit == 0 && len(config.voters) > 0\n"},
	}},
	{"newborns counted", "the vote of a server without a past makes a majority", 1000, []mutantEdit{
		{"election.go", " && (c.newborn || sure >= len(voters)-len(voters)/2)\n", " && sure >= 0\n"},
	}},
	{"match kept", "the leader believes that a server still holds what it lost with its disk", 1000, []mutantEdit{
		{"replicate.go", "		p.match = 0\n", ""},
	}},
}
