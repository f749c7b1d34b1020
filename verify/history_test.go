package verify

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// Histories: what clients asked and what they heard. porcupine looks for an order
// in which one key, seen by one client after the other, would have given the same
// answers.

// A question is one command on a key.
type question struct {
	verb   string // GET, EXISTS, DEL, GETDEL, APPEND, SET, or SET with one option: NX, XX, GET, IFEQ
	value  string // what SET sets and APPEND appends; each value is written once
	equals string // IFEQ: what must be there
	px     int    // SET: ms after which the value is over; 0 for never
}

func (q question) words(key string) []string {
	words := q.plain(key)
	if q.px > 0 {
		words = append(words, "PX", strconv.Itoa(q.px))
	}
	return words
}

func (q question) plain(key string) []string {
	switch q.verb {
	case "GET", "EXISTS", "DEL", "GETDEL":
		return []string{q.verb, key}
	case "SET", "APPEND":
		return []string{q.verb, key, q.value}
	case "SET IFEQ":
		return []string{"SET", key, q.value, "IFEQ", q.equals}
	default:
		return []string{"SET", key, q.value, q.verb[len("SET "):]}
	}
}

// reads reports whether a question changes nothing.
func (q question) reads() bool { return q.verb == "GET" || q.verb == "EXISTS" }

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

// brieflyModel is a key whose values are all set with PX: what is there may be over
// at any time, and then it is over for everybody.
func brieflyModel() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{""} },
		Step: func(state, input, output any) (after []any) {
			for _, before := range []string{state.(string), ""} {
				answer, next := sequential(before, input.(question))
				if output == unknown || output == answer {
					after = append(after, next)
				}
			}
			return after
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %v", input, output) },
	}
	return model.ToModel()
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
	case q.verb == "GETDEL":
		return old, ""
	case q.verb == "APPEND":
		return strconv.Itoa(len(before + q.value)), before + q.value
	case q.verb == "SET NX" && before != "", q.verb == "SET XX" && before == "", q.verb == "SET IFEQ" && (before == "" || before != q.equals):
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

func newHistory() *history {
	return &history{began: time.Now(), byKey: map[string][]porcupine.Operation{}}
}

// ask puts one question and takes down the answer. It returns what the client was
// told, or unknown.
func (h *history) ask(client int, clients *caller, s *server, key string, q question) (answer string) {
	call := time.Since(h.began).Nanoseconds()
	answer, err := clients.do(s, q.words(key)...)
	op := porcupine.Operation{ClientId: client, Input: q, Call: call, Output: answer, Return: time.Since(h.began).Nanoseconds()}
	switch {
	case err == nil:
	case errors.Is(err, errNull):
		op.Output = null
	case q.reads() || errors.Is(err, errUnsent):
		return "" // nothing was said and nothing changed
	default:
		op.Output, op.Return = unknown, math.MaxInt64
	}
	h.note(key, op)
	return op.Output.(string)
}

func (h *history) note(key string, op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.byKey[key] = append(h.byKey[key], op)
}

// answers counts the operations of a history, and those of which it is not known
// what has become.
func (h *history) answers() (all, open int) {
	for _, operations := range h.byKey {
		all += len(operations)
		for _, op := range operations {
			if op.Output == unknown {
				open++
			}
		}
	}
	return all, open
}

// A topic is what clients ask, and what may be answered.
type topic struct {
	verbs []string
	px    int // of SET, at most
	model func() porcupine.Model
}

var (
	// Every command that the model knows.
	everything = topic{
		verbs: []string{"GET", "GET", "GET", "EXISTS", "SET", "SET", "SET NX", "SET XX", "SET GET", "SET IFEQ", "DEL", "GETDEL", "APPEND"},
		model: keyModel,
	}
	// Values that are over soon.
	briefly = topic{
		verbs: []string{"GET", "GET", "GET", "GET", "EXISTS", "SET", "SET NX", "SET XX", "SET GET"},
		px:    40,
		model: brieflyModel,
	}
)

// A keyring holds the keys that clients ask about. One of which it is not known any
// more what has become of all commands gives way to a new one: porcupine would have
// to try those commands at every later time.
type keyring struct {
	mu   sync.Mutex
	keys []string // in use
	made int      // so far: key 0, key 1 and so on
}

func newKeyring(n int) *keyring {
	k := &keyring{keys: make([]string, n)}
	for place := range k.keys {
		k.renew(place, "")
	}
	return k
}

// renew puts a new key into a place, if the old one is still there.
func (k *keyring) renew(place int, old string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[place] == old {
		k.keys[place] = fmt.Sprint("key ", k.made)
		k.made++
	}
}

func (k *keyring) key(place int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[place]
}

// A questioner is a client that makes up questions, each of a new value.
type questioner struct {
	topic
	random *rand.Rand
	keys   *keyring
	name   int
	asked  int
	last   map[string]string // what it last read under a key
}

func newQuestioner(about topic, name int, random *rand.Rand, keys *keyring) *questioner {
	return &questioner{topic: about, name: name, random: random, keys: keys, last: map[string]string{}}
}

// next asks one question, by ask, which returns the answer, unknown, or "" if there
// was none and nothing was done. It reports whether there was an answer.
func (c *questioner) next(ask func(key string, q question) string) bool {
	place := c.random.IntN(len(c.keys.keys))
	key := c.keys.key(place)
	c.asked++
	q := question{
		verb:   c.verbs[c.random.IntN(len(c.verbs))],
		value:  fmt.Sprintf("%d.%d ", c.name, c.asked),
		equals: c.last[key],
	}
	if c.px > 0 && strings.HasPrefix(q.verb, "SET") {
		q.px = 1 + c.random.IntN(c.px)
	}
	answer := ask(key, q)
	switch {
	case answer == unknown:
		c.keys.renew(place, key)
		return false
	case q.verb == "GET" && answer != "" && answer != null:
		c.last[key] = answer
	}
	return answer != ""
}

// requireLinearizable fails the test unless there is an order that explains the
// answers about a key. What can be said about the failure is then in a file.
func requireLinearizable(t *testing.T, key string, operations []porcupine.Operation) {
	t.Helper()
	requireModel(t, keyModel(), key, operations)
}

func requireModel(t *testing.T, model porcupine.Model, key string, operations []porcupine.Operation) {
	t.Helper()
	if result := porcupine.CheckOperationsTimeout(model, operations, patience); result == porcupine.Ok {
		return
	}
	result, info := porcupine.CheckOperationsVerbose(model, operations, patience)
	f, err := os.CreateTemp("", "parley-history-*.html")
	require.NoError(t, err)
	require.NoError(t, porcupine.Visualize(model, info, f))
	require.NoError(t, f.Close())
	require.FailNow(t, fmt.Sprintf("%s: no order explains the %d answers (%v): see %s", key, len(operations), result, f.Name()))
}

// The checker itself has to be able to say no.
func TestModelRefusesWhatCannotBe(t *testing.T) {
	for name, operations := range map[string][]porcupine.Operation{
		"an acknowledged value is lost": {
			{Input: question{verb: "SET", value: "1"}, Output: "OK", Call: 1, Return: 2},
			{Input: question{verb: "GET"}, Output: null, Call: 3, Return: 4},
		},
		"reads go back": {
			{Input: question{verb: "SET", value: "1"}, Output: "OK", Call: 1, Return: 2},
			{Input: question{verb: "SET", value: "2"}, Output: unknown, Call: 3, Return: math.MaxInt64},
			{Input: question{verb: "GET"}, Output: "2", Call: 4, Return: 5},
			{Input: question{verb: "GET"}, Output: "1", Call: 6, Return: 7},
		},
		"two winners": {
			{Input: question{verb: "SET NX", value: "1"}, Output: "OK", Call: 1, Return: 3},
			{Input: question{verb: "SET NX", value: "2"}, Output: "OK", Call: 2, Return: 4},
		},
		"a comparison that cannot have held": {
			{Input: question{verb: "SET", value: "1"}, Output: "OK", Call: 1, Return: 2},
			{Input: question{verb: "SET IFEQ", value: "2", equals: "0"}, Output: "OK", Call: 3, Return: 4},
		},
		"appended twice": {
			{Input: question{verb: "APPEND", value: "1"}, Output: "1", Call: 1, Return: 2},
			{Input: question{verb: "GET"}, Output: "11", Call: 3, Return: 4},
		},
	} {
		require.False(t, porcupine.CheckOperations(keyModel(), operations), name)
	}
}
