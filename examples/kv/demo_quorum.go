package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A story is the demo of servers without a leader.
type story struct {
	*teller
	a, b, c *process
	pairs   []pair

	sightings []sighting
}

func tellQuorum(ctx context.Context, t *teller) error {
	s := &story{teller: t, a: t.servers.all[0], b: t.servers.all[1], c: t.servers.all[2], pairs: poems()}
	return s.tell(ctx)
}

// A sighting is one row of the table at the end: everything asked for once, at
// one server.
type sighting struct {
	alive string
	asked string
	found int
}

// tell runs the acts in turn.
func (s *story) tell(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		s.begin,
		s.writeAndKill,
		s.readWithoutB,
		s.bringBack(s.b),
		s.loseAnother,
		s.bringBack(s.c),
		s.loseTheLast,
		s.standAlone,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return s.verdict()
}

func (s *story) begin(ctx context.Context) error {
	s.headline("Three servers start: a, b and c.")
	s.say("Each is a process of its own and keeps its data in memory only. They know each other by")
	s.say("certificates made a moment ago, and any of them answers any Redis client.")
	if err := s.startAll(ctx); err != nil {
		return err
	}
	s.introduce()
	return nil
}

func (s *story) writeAndKill(ctx context.Context) error {
	s.headline("28 sonnets are written, and b is killed in the middle.")
	s.say("%s keys: every line, and for every word the lines where it stands. Each key goes to all", count(len(s.pairs)))
	s.say("three servers, and is acknowledged once two of them have it.")
	began := time.Now()
	l := newLoad(s.pairs, s.servers.all)
	done := make(chan error, 1)
	go func() { done <- l.run(ctx) }()
	select {
	case <-l.half:
		s.b.kill()
	case <-ctx.Done():
	}
	at := l.acknowledged.Load()
	if err := <-done; err != nil {
		return err
	}
	s.say("SIGKILL for b when %s were acknowledged. The writers went on with a and c:", count(int(at)))
	s.say("%s acknowledged, %s. %s", count(len(s.pairs)), unanswered(l.unanswered.Load()), since(began))
	return nil
}

// unanswered says what happened to the writes that b was working on.
func unanswered(n int64) string {
	switch n {
	case 0:
		return "none was cut off by the kill"
	case 1:
		return "1 was cut off by the kill and sent again"
	default:
		return fmt.Sprintf("%d were cut off by the kill and sent again", n)
	}
}

func (s *story) readWithoutB(ctx context.Context) error {
	s.headline("Everything is read back, from a and from c.")
	return s.readFrom(ctx, s.a, s.c)
}

// bringBack starts a server again, with an empty memory.
func (s *story) bringBack(p *process) func(context.Context) error {
	return func(ctx context.Context) error {
		s.headline("%s starts again, with nothing.", p.name)
		began := time.Now()
		if err := s.servers.start(p); err != nil {
			return err
		}
		info, err := s.servers.ready(ctx, p)
		if err != nil {
			return err
		}
		copied, err := strconv.Atoi(infoField(info, "copied"))
		if err != nil {
			return err
		}
		s.say("It takes writes at once, but has no say in reads until it has copied what it missed.")
		s.say("It has: %s records, each key from both others. %s", count(copied), since(began))
		return nil
	}
}

func (s *story) loseAnother(ctx context.Context) error {
	s.headline("Now c is killed. Everything is read back, from a and from b.")
	s.c.kill()
	return s.readFrom(ctx, s.a, s.b)
}

func (s *story) loseTheLast(ctx context.Context) error {
	s.headline("Last, a is killed: none of the processes that took the writes is left.")
	s.a.kill()
	if err := s.readFrom(ctx, s.b, s.c); err != nil {
		return err
	}
	line, _, err := fetch(ctx, s.b.clients, "GET", "sonnet:18:1")
	if err != nil {
		return err
	}
	s.say("GET sonnet:18:1, asked of b, which has it from a, which is dead: %q", line)
	return nil
}

func (s *story) standAlone(ctx context.Context) error {
	s.headline("c is killed, too. Alone, b must refuse: it cannot know what the others know.")
	s.c.kill()
	for _, words := range [][]string{{"SET", "sonnet:18:1", "overwritten"}, {"GET", "sonnet:18:1"}} {
		reply, _, err := fetch(ctx, s.b.clients, words...)
		var refused serverError
		if !errors.As(err, &refused) || !strings.HasPrefix(string(refused), "NOQUORUM") {
			return fmt.Errorf("b alone was to refuse %s, and answered %q, %v", words[0], reply, err)
		}
		text, _, _ := strings.Cut(string(refused), ";")
		s.say("%s: %s", words[0], text)
	}
	return nil
}

// readFrom asks each server for everything that was acknowledged.
func (s *story) readFrom(ctx context.Context, servers ...*process) error {
	var alive []string
	for _, p := range s.servers.all {
		if p.alive() {
			alive = append(alive, p.name)
		}
	}
	for _, p := range servers {
		began := time.Now()
		found, err := readBack(ctx, p, s.pairs)
		s.sightings = append(s.sightings, sighting{strings.Join(alive, " "), p.name, found})
		s.say("%s has answered %s of %s as written. %s", p.name, count(found), count(len(s.pairs)), since(began))
		if err != nil {
			return fmt.Errorf("reading from %s: %w", p.name, err)
		}
	}
	return nil
}

// verdict draws the table and the conclusion. The error says that something was
// lost.
func (s *story) verdict() error {
	lost := 0
	fmt.Fprintf(s.out, "\n  %-8s  %-5s  %12s  %8s  %4s\n", "alive", "asked", "acknowledged", "found", "lost")
	for _, row := range s.sightings {
		missing := len(s.pairs) - row.found
		lost += missing
		fmt.Fprintf(s.out, "  %-8s  %-5s  %12s  %8s  %4s\n", row.alive, row.asked, count(len(s.pairs)), count(row.found), count(missing))
	}
	if lost > 0 {
		return fmt.Errorf("%d reads did not find what had been acknowledged", lost)
	}
	_, err := fmt.Fprintf(s.out, "\nVERDICT: nothing that was acknowledged is lost. (%s)\n\n"+
		"How it works, what is guaranteed and how to run it by hand: examples/kv/README.md\n", s.elapsed())
	return err
}
