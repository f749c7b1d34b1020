package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// strictFlags are what the servers of the demo are started with: short times, so
// that there is not much to wait for.
func strictFlags() []string {
	return []string{"-mode", "cp", "-heartbeat", "50ms", "-election", "150ms", "-snapshot", "5000"}
}

// A strictStory is the demo of servers with a leader.
type strictStory struct {
	*teller
	load    *tally
	history string // file; "" for none
	losses  []loss
}

// A loss is one row of the table at the end.
type loss struct {
	killed string
	term   string        // that it led
	gap    time.Duration // until a write was acknowledged again
	next   string        // who led then
	back   time.Duration // until what was killed had caught up
}

func tellStrict(ctx context.Context, t *teller, history string) error {
	s := &strictStory{teller: t, history: history}
	defer func() {
		if s.load != nil {
			s.load.end()
		}
	}()
	acts := []func(context.Context) error{s.begin, s.killLeader, s.killLeader, s.killLeader, s.killAll}
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return s.verdict(ctx)
}

func (s *strictStory) begin(ctx context.Context) error {
	s.headline("Three servers start: a, b and c, each with a log on disk.")
	s.say("They elect a leader. Every write is an entry of one log, which two of the three have on")
	s.say("disk before it is acknowledged. Any of them answers any Redis client.")
	if err := s.startAll(ctx); err != nil {
		return err
	}
	s.introduce()
	leader, term, err := s.leader(ctx)
	if err != nil {
		return err
	}
	s.say("%s leads, in term %s.", leader.name, term)
	fmt.Fprintln(s.out)
	s.say("Six clients begin to count, through all three servers: INCR and GET of %d counters. INCR must", tallyCounters)
	s.say("neither be lost nor done twice, and its answer tells its place among all others: from the")
	s.say("answers it can be seen afterwards whether everything happened in one order.")
	s.load = startTally(ctx, s.servers.all)
	return s.load.progress(ctx, 500)
}

// leader waits until the servers that are up agree on who leads, and that one is
// up.
func (s *strictStory) leader(ctx context.Context) (leader *process, term string, err error) {
	for ; ctx.Err() == nil; pause(ctx, 5*time.Millisecond) {
		if leader, term = s.agreed(ctx); leader != nil {
			return leader, term, nil
		}
	}
	return nil, "", fmt.Errorf("no leader: %w", context.Cause(ctx))
}

// agreed asks all servers that are up once.
func (s *strictStory) agreed(ctx context.Context) (leader *process, term string) {
	first := ""
	for _, p := range s.servers.all {
		if !p.alive() {
			continue
		}
		info, _, err := fetch(ctx, p.clients, "INFO", "consensus")
		said := infoField(info, "leader") + " in term " + infoField(info, "term")
		if err != nil || first != "" && said != first {
			return nil, ""
		}
		first, term = said, infoField(info, "term")
	}
	for _, p := range s.servers.all {
		if p.alive() && strings.HasPrefix(first, p.name+" ") {
			return p, term
		}
	}
	return nil, ""
}

func (s *strictStory) killLeader(ctx context.Context) error {
	old, term, err := s.leader(ctx)
	if err != nil {
		return err
	}
	s.headline("%s, the leader, is killed while the clients count.", old.name)
	row := loss{killed: old.name, term: term}
	row.gap, err = s.gap(ctx, func() error { old.kill(); return nil })
	if err != nil {
		return err
	}
	next, term, err := s.leader(ctx)
	if err != nil {
		return err
	}
	row.next = next.name
	s.say("SIGKILL for %s. %d ms later a write that began after that was acknowledged: %s leads, in term %s.", old.name, row.gap.Milliseconds(), next.name, term)
	if err := s.load.progress(ctx, 500); err != nil {
		return err
	}
	began := time.Now()
	if err := s.servers.start(old); err != nil {
		return err
	}
	info, err := s.servers.ready(ctx, old)
	if err != nil {
		return err
	}
	row.back = time.Since(began)
	s.say("%s starts again from its disk, and has caught up with entry %s of the log. %s", old.name, infoField(info, "applied"), since(began))
	s.losses = append(s.losses, row)
	return s.load.progress(ctx, 500)
}

// gap does harm and returns how long it takes, from its beginning, until a write
// is acknowledged that began after it.
func (s *strictStory) gap(ctx context.Context, harm func() error) (time.Duration, error) {
	began := time.Now()
	if err := harm(); err != nil {
		return 0, err
	}
	select {
	case <-s.load.watch():
		return time.Since(began), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("no write is acknowledged any more: %w", context.Cause(ctx))
	}
}

func (s *strictStory) killAll(ctx context.Context) error {
	s.headline("All three are killed, and start again: all that is left is on their disks.")
	_, term, err := s.leader(ctx)
	if err != nil {
		return err
	}
	row := loss{killed: "a b c", term: term}
	row.gap, err = s.gap(ctx, func() error {
		for _, p := range s.servers.all {
			p.kill()
		}
		began := time.Now()
		defer func() { row.back = time.Since(began) }()
		return s.startAll(ctx)
	})
	if err != nil {
		return err
	}
	next, term, err := s.leader(ctx)
	if err != nil {
		return err
	}
	row.next = next.name
	s.losses = append(s.losses, row)
	s.say("%s leads, in term %s, and the clients count on.", next.name, term)
	return s.load.progress(ctx, 500)
}

// verdict draws the table and the conclusion. The error says what is wrong with
// what the clients were told.
func (s *strictStory) verdict(ctx context.Context) error {
	s.headline("The clients stop, and every server is asked for every counter.")
	s.load.end()
	if err := s.load.readAll(ctx); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	calls := s.load.end()
	if err := s.record(calls); err != nil {
		return err
	}
	incrs, gets, unanswered := 0, 0, 0
	for _, c := range calls {
		switch {
		case c.Incr && c.Answered:
			incrs++
		case c.Incr:
			unanswered++
		case c.Answered:
			gets++
		}
	}
	s.say("%s INCRs acknowledged and %s GETs answered; %s INCRs got no answer, because their", count(incrs), count(gets), count(unanswered))
	s.say("server was killed: they may be done or not.")
	fmt.Fprintf(s.out, "\n  %-6s  %4s  %28s  %10s  %14s\n", "killed", "term", "without acknowledged writes", "next leads", "back after")
	for _, l := range s.losses {
		fmt.Fprintf(s.out, "  %-6s  %4s  %25d ms  %10s  %11d ms\n", l.killed, l.term, l.gap.Milliseconds(), l.next, l.back.Milliseconds())
	}
	if err := checkCounters(calls); err != nil {
		return fmt.Errorf("the history is not linearizable: %w", err)
	}
	_, err := fmt.Fprintf(s.out, "\nVERDICT: nothing that was acknowledged is lost or done twice, and the history is linearizable:\n"+
		"one order explains all %s answers. (%s)\n\n"+
		"How it works, what is guaranteed and how to run it by hand: examples/kv/README.md\n", count(incrs+gets), s.elapsed())
	return err
}

// record writes the history to its file.
func (s *strictStory) record(calls []call) error {
	if s.history == "" {
		return nil
	}
	f, err := os.OpenFile(s.history, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(writeHistory(f, calls), f.Close())
}
