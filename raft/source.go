package raft

import (
	"bytes"
	"context"
	"slices"
	"time"
)

// Whom a fetch asks. See fetch for the rule.

// doubt sees to it that somebody is asked who answers.
func (f *fetch) doubt(ctx context.Context, v *view) error {
	if f.refusal == nil && v.now < max(f.again, f.heard+f.trust(v)) {
		return nil
	}
	before := f.heard
	found := f.search(ctx)
	if err := f.drain(); err != nil {
		return err
	}
	now := f.node.host.now()
	switch {
	case f.heard > before && f.refusal == nil: // it came meanwhile
	case found != "":
		f.turnTo(found, now)
	case f.refusal != nil:
		return f.refusal
	case (v.leader == "" || v.leader == f.from) && now-f.heard < endurance*f.node.config.Election:
		f.again = now + f.node.config.Election
	default:
		return errSilent
	}
	return nil
}

// trust returns for how long the source may be silent.
func (f *fetch) trust(v *view) time.Duration {
	if v.leader != "" && v.leader != f.from {
		return f.node.config.Election
	}
	return silence * f.node.config.Election
}

// search returns a member that holds the same snapshot, empty if there is none.
func (f *fetch) search(ctx context.Context) (found string) {
	n := f.node
	if f.foot.state != here || f.sources == maxSources {
		return ""
	}
	n.mu.Lock()
	names := []string{n.core.leader}
	for _, p := range n.core.peers {
		names = append(names, p.name)
	}
	n.mu.Unlock()
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" || name == f.from || name == n.local })
	ctx, cancel := context.WithTimeout(ctx, n.config.Election/2)
	defer cancel()
	answers := make(chan string, len(names))
	for _, name := range names {
		f.asking.Go(func() {
			p, size := piece{from: f.body()}, uint64(0)
			response, err := n.ask(ctx, name, f.request(&p))
			if err == nil {
				size, _, p.data, err = readPiece(response)
			}
			if err != nil || size != f.size || !bytes.Equal(p.data, f.foot.data) {
				name = ""
			}
			answers <- name
		})
	}
	for range names {
		select {
		case found = <-answers:
		case <-ctx.Done():
			return ""
		}
		if found != "" {
			break
		}
	}
	return found
}

// turnTo goes on with another source.
func (f *fetch) turnTo(source string, now time.Duration) {
	for p := range f.onTheWay() {
		p.stop()
		p.state = wanted
	}
	f.from, f.refusal, f.heard, f.again, f.resume = source, nil, now, 0, 0
	f.pace = newPace(f.number + 1)
	f.sources++
}
