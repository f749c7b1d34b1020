package retry_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/parley-go/parley/retry"
)

// A step is what the scripted service does at one call.
type step struct {
	takes time.Duration
	kind  kind
	after time.Duration // of kind told
}

type kind int

const (
	succeeds kind = iota
	fails
	failsForGood // what Policy.Retryable refuses, where it is set
	permanent    // marked by retry.Permanent
	told         // marked by retry.After
)

var errForGood = errors.New("never")

func (s step) error() error {
	return []error{nil, errDown, errForGood, retry.Permanent(errDown), retry.After(errDown, s.after)}[s.kind]
}

// history is all that can be seen of a run from outside.
type history struct {
	Calls []time.Duration // when each call began
	End   time.Duration
	Err   string
}

// A scenario is one policy, one deadline and one scripted service.
type scenario struct {
	policy   retry.Policy
	deadline time.Duration // 0: none
	script   []step
}

// draw makes a scenario. No two sums of its times are equal, so that what comes
// first is never left to chance.
func draw(random *rand.Rand) scenario {
	pick := func(list ...time.Duration) time.Duration { return list[random.IntN(len(list))] * time.Microsecond }
	s := scenario{
		policy: retry.Policy{
			Attempts:       random.IntN(6),
			Backoff:        retry.Constant(pick(0, 31, 1_000_037, 7_000_041)),
			Elapsed:        pick(0, 0, 1_000_211, 10_000_223),
			AttemptTimeout: pick(0, 0, 2_002_029),
			MaxAfter:       pick(0, 0, 5_000_000),
		},
		deadline: pick(0, 0, 407, 1_000_419, 9_000_431),
	}
	if random.IntN(3) == 0 {
		s.policy.Retryable = func(err error) bool { return !errors.Is(err, errForGood) }
	}
	for range 6 {
		s.script = append(s.script, step{
			takes: pick(0, 0, 1, 1_000_003, 4_000_007),
			kind:  []kind{succeeds, fails, fails, fails, failsForGood, permanent, told, told}[random.IntN(8)],
			after: pick(0, 3_000_011, 60_000_000, 3600_000_000),
		})
	}
	return s
}

// run plays a scenario with f, which is Do or the loop over Attempts.
func (s scenario) run(t *testing.T, do func(context.Context, retry.Policy, func(context.Context) (int, error)) (int, error)) history {
	ctx, begin := t.Context(), time.Now()
	if s.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.deadline)
		defer cancel()
	}
	var h history
	_, err := do(ctx, s.policy, func(ctx context.Context) (int, error) {
		now := s.script[len(h.Calls)]
		h.Calls = append(h.Calls, since(begin))
		select {
		case <-time.After(now.takes):
			return 0, now.error()
		case <-ctx.Done():
			return 0, fmt.Errorf("cut off: %w", ctx.Err())
		}
	})
	h.End, h.Err = since(begin), fmt.Sprint(err)
	return h
}

// model says what must happen, by arithmetic on times alone: no contexts, no
// timers, no chains of errors.
func (s scenario) model() (h history) {
	var now time.Duration
	for i, step := range s.script {
		h.Calls = append(h.Calls, now)
		takes, text := step.takes, "service is down"
		if step.kind == failsForGood {
			text = "never"
		}
		for _, limit := range []time.Duration{s.policy.AttemptTimeout, max(s.deadline-now, 0)} {
			if limit > 0 && limit < takes {
				takes, step.kind, text = limit, fails, "cut off: context deadline exceeded"
			}
		}
		now += takes
		if text, over := s.verdict(i, now, step, text); over {
			h.End, h.Err = now, text
			return h
		}
		now += s.wait(step)
	}
	return h
}

func (s scenario) wait(step step) time.Duration {
	if step.kind == told {
		return step.after
	}
	return time.Duration(s.policy.Backoff.(retry.Constant))
}

// verdict says whether the series is over after attempt i, which ended now, and
// with which error.
func (s scenario) verdict(i int, now time.Duration, step step, text string) (string, bool) {
	wait := s.wait(step)
	causes := []struct {
		holds bool
		cause string
	}{
		{s.deadline > 0 && now >= s.deadline, "context deadline exceeded"},
		{step.kind == failsForGood && s.policy.Retryable != nil, ""},
		{i+1 == cmp.Or(s.policy.Attempts, 3), "attempts used up"},
		{step.kind == told && wait > cmp.Or(s.policy.MaxAfter, 5*time.Minute), "asked to wait too long"},
		{s.deadline > 0 && wait > 0 && now+wait >= s.deadline, "context deadline exceeded"},
		{s.policy.Elapsed > 0 && now+wait > s.policy.Elapsed, "no time left for another attempt"},
	}
	switch step.kind {
	case succeeds:
		return "<nil>", true
	case permanent:
		return text, true
	}
	for _, c := range causes {
		switch {
		case c.holds && c.cause == "":
			return text, true
		case c.holds && i == 0:
			return "retry: gave up after 1 attempt: " + c.cause + ": " + text, true
		case c.holds:
			return fmt.Sprintf("retry: gave up after %d attempts: %s: %s", i+1, c.cause, text), true
		}
	}
	return "", false
}

func TestModel(t *testing.T) {
	const runs = 500
	seen := map[string]int{}
	for seed := range uint64(runs) {
		s := draw(rand.New(rand.NewPCG(seed, 0)))
		want := s.model()
		_, outcome, _ := strings.Cut(want.Err, "attempt") // without the number of attempts
		seen[strings.TrimPrefix(outcome, "s")]++
		synctest.Test(t, func(t *testing.T) {
			require.Equal(t, want, s.run(t, retry.Do[int]), "Do, seed %d: %+v", seed, s)
			require.Equal(t, want, s.run(t, loop[int]), "Attempts, seed %d: %+v", seed, s)
		})
	}
	require.GreaterOrEqual(t, len(seen), 10, "the scenarios lack variety: %v", seen)
}
