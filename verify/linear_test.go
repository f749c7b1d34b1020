package verify

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// These tests let many clients work on few keys and have porcupine look for an
// order in which one key, seen by one client after the other, would have given
// the same answers.

// A question is one command on a key.
type question struct {
	verb  string // GET, EXISTS, DEL, SET, or SET with one option: NX, XX, GET
	value string // what SET sets; each value is set once
}

func (q question) words(key string) []string {
	switch q.verb {
	case "GET", "EXISTS", "DEL":
		return []string{q.verb, key}
	case "SET":
		return []string{"SET", key, q.value}
	default:
		return []string{"SET", key, q.value, q.verb[len("SET "):]}
	}
}

const (
	null    = "(null)"
	unknown = "(unknown)" // the command may be carried out at any time, or never
)

// keyModel is one key as Redis describes it. Its state is the value, "" for none.
func keyModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			before, q := state.(string), input.(question)
			answer, after := sequential(before, q)
			return output == unknown || output == answer, after
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %v", input, output) },
	}
}

// sequential is the answer to a question when nobody else is there, and the
// state after it.
func sequential(before string, q question) (answer, after string) {
	old := before
	if before == "" {
		old = null
	}
	switch {
	case q.verb == "GET":
		return old, before
	case q.verb == "EXISTS" && before == "", q.verb == "DEL" && before == "":
		return "0", before
	case q.verb == "EXISTS":
		return "1", before
	case q.verb == "DEL":
		return "1", ""
	case q.verb == "SET NX" && before != "", q.verb == "SET XX" && before == "":
		return null, before
	case q.verb == "SET GET":
		return old, q.value
	default:
		return "OK", q.value
	}
}

// A history is what clients asked about some keys, and what they heard.
type history struct {
	began time.Time
	mu    sync.Mutex
	byKey map[string][]porcupine.Operation // guarded by mu
}

// ask puts one question and takes down the answer.
func (h *history) ask(client int, clients *caller, s *server, key string, q question) {
	call := time.Since(h.began).Nanoseconds()
	answer, err := clients.do(s, q.words(key)...)
	op := porcupine.Operation{ClientId: client, Input: q, Call: call, Output: answer, Return: time.Since(h.began).Nanoseconds()}
	switch {
	case err == nil:
	case errors.Is(err, errNull):
		op.Output = null
	case q.verb == "GET" || q.verb == "EXISTS" || errors.Is(err, errUnsent):
		return // nothing was said and nothing changed
	default:
		op.Output, op.Return = unknown, math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byKey[key] = append(h.byKey[key], op)
}

// work lets clients ask questions of the given kinds until each has put so many,
// while disturb does what it likes.
func work(t *testing.T, c *cluster, questions int, verbs []string, disturb func()) {
	t.Helper()
	const clients, keys = 6, 5
	h := &history{began: time.Now(), byKey: map[string][]porcupine.Operation{}}
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			random, callers := rand.New(rand.NewPCG(3, uint64(n))), newCaller(c.all...)
			defer callers.close()
			for i := range questions {
				q := question{verb: verbs[random.IntN(len(verbs))], value: fmt.Sprintf("%d.%d", n, i)}
				h.ask(n, callers, callers.pick(random), fmt.Sprint("key ", random.IntN(keys)), q)
			}
		})
	}
	disturb()
	wg.Wait()
	for key, operations := range h.byKey {
		settled := settle(operations)
		result := porcupine.CheckOperationsTimeout(keyModel(), settled, patience)
		require.Equal(t, porcupine.Ok, result, "%s: no order explains the %d answers", key, len(operations))
		t.Logf("%s: %d answers, %d unknown and never seen", key, len(operations), len(operations)-len(settled))
	}
}

// settle says what else is known of plain SETs whose answer is not: one whose
// value somebody has read was carried out before that read ended, and one whose
// value nobody ever read may as well not be there. It makes no history good or
// bad that was not, and spares porcupine from trying them everywhere.
func settle(operations []porcupine.Operation) (settled []porcupine.Operation) {
	seen := map[string]int64{} // by value, when a read that saw it first ended
	for _, op := range operations {
		value := op.Output.(string)
		if first, known := seen[value]; !known || op.Return < first {
			seen[value] = op.Return
		}
	}
	for _, op := range operations {
		if q := op.Input.(question); op.Output == unknown && q.verb == "SET" {
			first, known := seen[q.value]
			if !known {
				continue
			}
			op.Return = max(first, op.Call)
		}
		settled = append(settled, op)
	}
	return settled
}

// GET and SET are linearizable whatever happens to a minority.
func TestGetAndSetAreLinearizableUnderFaults(t *testing.T) {
	c := startQuickCluster(t)
	work(t, c, 1500, []string{"GET", "SET"}, func() {
		for _, s := range c.all {
			s.kill()
			s.start(t)
			s.waitReady(t)
			c.isolate(s.name)
			require.Eventually(t, func() bool { return !c.all[0].sees(t, c.all[1]) || !c.all[1].sees(t, c.all[2]) }, patience, 5*time.Millisecond)
			c.rejoin(s.name)
		}
	})
}

// Commands that look before they write are, too, while all nodes are there and
// no plain SET comes between.
func TestConditionsAreLinearizableWithoutFaults(t *testing.T) {
	c := startCluster(t)
	work(t, c, 600, []string{"GET", "EXISTS", "DEL", "SET NX", "SET XX", "SET GET"}, func() {})
}

// The checker itself has to be able to say no.
func TestModelRefusesWhatCannotBe(t *testing.T) {
	for name, operations := range map[string][]porcupine.Operation{
		"an acknowledged value is lost": {
			{Input: question{"SET", "1"}, Output: "OK", Call: 1, Return: 2},
			{Input: question{"GET", ""}, Output: null, Call: 3, Return: 4},
		},
		"reads go back": {
			{Input: question{"SET", "1"}, Output: "OK", Call: 1, Return: 2},
			{Input: question{"SET", "2"}, Output: unknown, Call: 3, Return: math.MaxInt64},
			{Input: question{"GET", ""}, Output: "2", Call: 4, Return: 5},
			{Input: question{"GET", ""}, Output: "1", Call: 6, Return: 7},
		},
		"two winners": {
			{Input: question{"SET NX", "1"}, Output: "OK", Call: 1, Return: 3},
			{Input: question{"SET NX", "2"}, Output: "OK", Call: 2, Return: 4},
		},
	} {
		require.False(t, porcupine.CheckOperations(keyModel(), operations), name)
	}
}
