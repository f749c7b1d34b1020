package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// The language of the transcripts. Names stand for servers; t is a term, i an
// index.
//
//	set lease 900ms | inflight n | bytes n   of servers to come
//	cluster a b c | d                        new servers, learners after the bar
//	joiner d                                 a new server without a membership
//	given voters a b                         whom entry 1 names in the logs that are given next
//	given a term=t vote=b commit=i log=t,t   a server with a past: its log has these terms
//	deliver a->b [n] | to b | all            messages arrive, oldest first
//	drop a->b [n] | to b | all               messages are lost
//	cut a b ... | heal                       nothing passes between these and the others
//	timeout a | heartbeat a | tick a 50ms    time passes, at that server only
//	wait 1s | run 1s                         time passes without any tick; or with all that is due
//	elect a                                  a times out, and all messages arrive; only changes are told, as in run
//	propose a x y | reconfigure a b c | d | transfer a b | read a 7
//	disk a manual | auto; save a             batches wait for "save", or not
//	crash a | restart a | wipe a             wipe: restart with an empty disk
//	snapshot a i | compact a i               its own snapshot at i
//	fetch a | install a                      takes the snapshot that it was offered; and is done with it
//	fail a                                   its storage breaks
//	log a | peers a | disk a                 show it
//	expect ...                               see (*scene).expect
func (s *scene) do(line string) {
	s.line = line
	f := strings.Fields(line)
	if len(f) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	verb, args := f[0], f[1:]
	if commands := s.commands(); commands[verb] != nil {
		commands[verb](args)
		return
	}
	a := s.actor(args[0])
	if do := s.onActor()[verb]; do != nil {
		do(a, args[1:])
		return
	}
	input := s.inputs()[verb]
	require.NotNil(s.t, input, "no such command: %s", line)
	if err := input(s.core(a.name), args[1:]); err != nil {
		s.sayf("%s: error: %v", a.name, err)
	}
	s.flush(a)
}

// play does several lines.
func (s *scene) play(lines string) {
	for line := range strings.Lines(lines) {
		s.do(strings.TrimSpace(line))
	}
}

func (s *scene) commands() map[string]func(args []string) {
	return map[string]func(args []string){
		"set":     s.set,
		"cluster": s.cluster,
		"joiner":  func(args []string) { s.add(args[0], nil, nil, State{}) },
		"given":   s.given,
		"deliver": func(args []string) { s.carry(args, s.deliver) },
		"drop":    func(args []string) { s.carry(args, s.drop) },
		"cut": func(args []string) {
			for _, a := range s.names {
				for _, b := range s.names {
					if slices.Contains(args, a) != slices.Contains(args, b) {
						s.cuts[a+">"+b] = true
					}
				}
			}
		},
		"heal":   func([]string) { clear(s.cuts) },
		"wait":   func(args []string) { s.now += s.duration(args[0]) },
		"expect": s.expect,
		"elect": func(args []string) {
			s.quietly(func() { s.play("timeout " + args[0] + "\ndeliver all\nheartbeat " + args[0] + "\ndeliver all") })
		},
		"run": func(args []string) {
			s.quietly(func() { s.run(s.duration(args[0])) })
		},
	}
}

// quietly does something of which only the changes are told.
func (s *scene) quietly(f func()) {
	before := s.terse
	s.terse = true
	f()
	s.terse = before
}

func (s *scene) onActor() map[string]func(a *actor, args []string) {
	return map[string]func(a *actor, args []string){
		"disk": func(a *actor, args []string) {
			if len(args) == 0 {
				s.sayf("%s's disk: term %d, vote %q, commit %d; snapshot %d/%d; log %s", a.name, a.disk.Hard.Term, a.disk.Hard.Vote, a.disk.Hard.Commit, a.disk.Snapshot.Index, a.disk.Snapshot.Term, showEntries(a.disk.Entries))
				return
			}
			a.manual = args[0] == "manual"
			if !a.manual && a.writing != nil {
				s.saved(a)
			}
		},
		"save":    func(a *actor, _ []string) { s.saved(a) },
		"crash":   func(a *actor, _ []string) { a.core = nil },
		"restart": func(a *actor, _ []string) { s.start(a) },
		"wipe": func(a *actor, _ []string) {
			a.disk = State{}
			s.start(a)
		},
		"log": func(a *actor, _ []string) {
			c := s.core(a.name)
			s.sayf("%s holds %s; committed to %d", a.name, showEntries(held(c, c.first(), c.last())), c.commit)
		},
		"peers": func(a *actor, _ []string) {
			for _, p := range s.core(a.name).peers {
				s.sayf("%s: match %d, next %d, %s", p.name, p.match, p.next, p.stance)
			}
		},
	}
}

func (s *scene) saved(a *actor) {
	require.NotNil(s.t, a.writing, "%s is saving nothing", a.name)
	a.save(s.t)
	a.core.saved(s.now)
	s.flush(a)
}

// inputs are the commands that are given to a core.
func (s *scene) inputs() map[string]func(c *core, args []string) error {
	return map[string]func(c *core, args []string) error{
		"timeout": func(c *core, _ []string) error {
			require.NotEqual(s.t, leader, c.role, "a leader has no election time-out")
			s.now = max(s.now, c.electionAt)
			c.tick(s.now)
			return nil
		},
		"heartbeat": func(c *core, _ []string) error {
			require.Equal(s.t, leader, c.role, "only leaders have heartbeats")
			s.now = max(s.now, c.office.heartbeatAt)
			c.tick(s.now)
			return nil
		},
		"tick": func(c *core, args []string) error {
			s.now += s.duration(args[0])
			c.tick(s.now)
			return nil
		},
		"propose": func(c *core, args []string) error {
			var entries []Entry
			for _, data := range args {
				entries = append(entries, Entry{Data: []byte(data)})
			}
			_, err := c.propose(s.now, entries)
			return err
		},
		"reconfigure": func(c *core, args []string) error {
			var m Membership
			m.Voters, m.Learners = voters(args)
			_, err := c.reconfigure(s.now, m)
			return err
		},
		"transfer": func(c *core, args []string) error { return c.transfer(s.now, args[0]) },
		"read": func(c *core, args []string) error {
			id := s.number(args[0])
			s.reads[id] = "waiting"
			for i := range s.committed {
				s.floors[id] = max(s.floors[id], i)
			}
			err := c.read(s.now, id)
			if err != nil {
				s.reads[id] = "refused"
			}
			return err
		},
		"fail": func(c *core, _ []string) error { c.fail(s.now); return nil },
		"snapshot": func(c *core, args []string) error {
			info := c.infoAt(s.number(args[0]))
			s.actor(c.id).disk.Snapshot = info
			c.snapshotted(info)
			return nil
		},
		"compact": func(c *core, args []string) error {
			c.compact(s.number(args[0]))
			d := &s.actor(c.id).disk
			d.Entries = slices.DeleteFunc(d.Entries, func(e Entry) bool { return e.Index < c.first() })
			return nil
		},
		"fetch": s.fetch,
		"install": func(c *core, _ []string) error {
			c.installed(s.now, s.actor(c.id).disk.Snapshot)
			return nil
		},
	}
}

// fetch copies the offered snapshot from whoever has it, as far as Commit of the
// writer.
func (s *scene) fetch(c *core, _ []string) error {
	for _, name := range s.names {
		info := s.servers[name].disk.Snapshot
		if info.Index != c.fetch.Index || info.Index == 0 {
			continue
		}
		if !c.beginInstall(s.now, info) {
			s.sayf("%s no longer wants the snapshot at %d", c.id, info.Index)
			return nil
		}
		s.actor(c.id).disk.Snapshot = info
		s.sayf("%s has the snapshot at %d/%d: %s", c.id, info.Index, info.Term, showMembership(info.Membership))
		return nil
	}
	require.Fail(s.t, "nobody has the snapshot")
	return nil
}

func (s *scene) set(args []string) {
	switch args[0] {
	case "lease":
		s.config.lease = s.duration(args[1])
	case "inflight":
		s.config.maxInflight = int(s.number(args[1]))
	case "bytes":
		s.config.maxAppendBytes = int(s.number(args[1]))
	default:
		require.Fail(s.t, "no such setting", args[0])
	}
}

func (s *scene) cluster(args []string) {
	v, l := voters(args)
	for _, name := range slices.Concat(v, l) {
		s.add(name, v, l, State{})
	}
}

// given makes a server with a past.
func (s *scene) given(args []string) {
	if args[0] == "voters" {
		s.config.voters = args[1:]
		return
	}
	var state State
	for _, arg := range args[1:] {
		key, value, _ := strings.Cut(arg, "=")
		switch key {
		case "term":
			state.Hard.Term = s.number(value)
		case "vote":
			state.Hard.Vote = value
		case "commit":
			state.Hard.Commit = max(state.Hard.Commit, s.number(value))
		case "log":
			state.Hard.Commit = max(state.Hard.Commit, 1) // it knows its past
			for i, term := range strings.Split(value, ",") {
				e := Entry{Index: uint64(i) + 1, Term: s.number(term), Data: fmt.Appendf(nil, "%d.%s", i+1, term)}
				if i == 0 {
					e.Kind = EntryMembership
					e.Data, _ = Membership{Voters: s.config.voters}.AppendBinary(nil)
				}
				state.Entries = append(state.Entries, e)
			}
		default:
			require.Fail(s.t, "no such key", key)
		}
	}
	s.add(args[0], nil, nil, state)
}

// carry does something to messages, as its arguments choose them.
func (s *scene) carry(args []string, each func(from, to string) bool) {
	from, to, limit := "", "", 20_000
	switch a, b, link := strings.Cut(args[0], "->"); {
	case link:
		from, to, limit = a, b, 1
	case args[0] == "to":
		to = args[1]
	default:
		require.Equal(s.t, "all", args[0])
	}
	if len(args) == 2 && limit == 1 {
		limit = int(s.number(args[1]))
	}
	n := 0
	for n < limit && each(from, to) {
		n++
	}
	require.True(s.t, n > 0 || limit > 1, "no such message: %v", args)
}

// voters splits names at a bar: voters before, learners after it.
func voters(args []string) (v, l []string) {
	if i := slices.Index(args, "|"); i >= 0 {
		return args[:i], args[i+1:]
	}
	return args, nil
}

func (s *scene) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(s.t, err)
	return n
}

func (s *scene) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	require.NoError(s.t, err)
	return d
}
