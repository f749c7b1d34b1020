package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"
)

// A store keeps items by key. The command layer knows nothing else of what is
// behind it: quorums, a consensus, or in its tests a map.
type store interface {
	// Now returns the time that expiry goes by.
	Now() time.Time
	// Get returns the items of some keys, each expired or not; nothing where there
	// is none.
	Get(ctx context.Context, keys ...string) ([]item, error)
	// Edit carries out some edits in order and says what became of each.
	Edit(ctx context.Context, edits ...edit) ([]outcome, error)
}

// A client is one connection as the commands see it.
type client struct {
	id   int64
	name string
	quit bool // QUIT was said: nothing more of this client is carried out
}

// A request is one command of one client, with its reply under way.
type request struct {
	ctx    context.Context
	now    time.Time
	client *client
	args   [][]byte // without the names of the command and its subcommand
	reply  []byte
}

// A command is one row of the table.
type command struct {
	least, most int // arguments, without the name; most < 0: no bound of its own
	run         func(r *request) error
	subcommands map[string]command // instead of run: the first argument chooses
}

// commands is the whole of what a client can say, as a function of the command
// and the store: no network, no clock but the store's, nothing kept between two
// requests. It is safe for concurrent use.
type commands struct {
	store    store
	settings map[string]string // what CONFIG GET tells
	info     func(section string) string
	table    map[string]command
	strict   bool // the store decides edits rightly under faults, and several as one
}

// A replyError goes to the client as it stands: a code in capitals and a text.
type replyError string

func (e replyError) Error() string { return string(e) }

const (
	errSyntax  replyError = "ERR syntax error"
	errInteger replyError = "ERR value is not an integer or out of range"
)

// newCommands makes the table. Commands that only a strict store can answer rightly
// are there with strict alone.
func newCommands(s store, strict bool, settings map[string]string, info func(section string) string) *commands {
	c := &commands{store: s, strict: strict, settings: settings, info: info}
	c.table = map[string]command{
		"get":    {least: 1, most: 1, run: c.get},
		"set":    {least: 2, most: -1, run: c.set},
		"del":    {least: 1, most: -1, run: c.del},
		"exists": {least: 1, most: -1, run: c.exists},
		"ttl":    {least: 1, most: 1, run: c.ttl},
		"pttl":   {least: 1, most: 1, run: c.pttl},
		"ping":   {least: 0, most: 1, run: c.ping},
		"echo":   {least: 1, most: 1, run: c.echo},
		"hello":  {least: 0, most: -1, run: c.hello},
		"select": {least: 1, most: 1, run: c.selectDatabase},
		"info":   {least: 0, most: -1, run: c.showInfo},
		"quit":   {least: 0, most: -1, run: c.quit},
		"client": {least: 1, most: -1, subcommands: map[string]command{
			"id":      {run: c.clientID},
			"getname": {run: c.clientGetName},
			"setname": {least: 1, most: 1, run: c.clientSetName},
			"setinfo": {least: 2, most: 2, run: c.clientSetInfo},
		}},
		"config": {least: 1, most: -1, subcommands: map[string]command{
			"get": {least: 1, most: -1, run: c.configGet},
		}},
		"command": {least: 0, most: -1, run: c.describe, subcommands: map[string]command{
			"count": {run: c.countCommands},
			"docs":  {least: 0, most: -1, run: c.describe},
		}},
	}
	if strict {
		maps.Copy(c.table, c.strictTable())
	}
	return c
}

// run carries out one command, args[0] its name, and appends the reply to reply,
// exactly one whatever happens.
func (c *commands) run(ctx context.Context, who *client, args [][]byte, reply []byte) []byte {
	r := &request{ctx: ctx, now: c.store.Now(), client: who, args: args, reply: reply}
	if err := dispatch(c.table, "", r); err != nil {
		return redcon.AppendError(reply, errorText(err)) // drops what run had begun
	}
	return r.reply
}

// dispatch finds the command that the first argument names, checks the number
// of the others and runs it. parent is the command that table belongs to.
func dispatch(table map[string]command, parent string, r *request) error {
	name := strings.ToLower(string(r.args[0]))
	found, known := table[name]
	switch {
	case !known && parent == "":
		return unknownCommand(r.args)
	case !known:
		return replyError(fmt.Sprintf("ERR unknown subcommand '%s'. Try %s HELP.", clip(r.args[0]), strings.ToUpper(parent)))
	case parent != "":
		name = parent + "|" + name
	}
	r.args = r.args[1:]
	if len(r.args) < found.least || found.most >= 0 && len(r.args) > found.most {
		return replyError(fmt.Sprintf("ERR wrong number of arguments for '%s' command", name))
	}
	if found.subcommands != nil && (found.run == nil || len(r.args) > 0) {
		return dispatch(found.subcommands, name, r)
	}
	return found.run(r)
}

// unknownCommand shows the beginning of what came, as Redis does.
func unknownCommand(args [][]byte) error {
	var shown bytes.Buffer
	for _, arg := range args[1:] {
		if shown.Len() >= clipped {
			break
		}
		fmt.Fprintf(&shown, "'%s' ", clip(arg))
	}
	return replyError(fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", clip(args[0]), shown.Bytes()))
}

// clipped is how many bytes of a client's words are said back in an error.
const clipped = 128

func clip(b []byte) []byte { return b[:min(len(b), clipped)] }

// errorText is what a client reads of an error. redcon makes one line of it.
func errorText(err error) string {
	if e, ok := errors.AsType[replyError](err); ok {
		return string(e)
	}
	return "ERR " + err.Error()
}

func (r *request) ok()                { r.reply = redcon.AppendString(r.reply, "OK") }
func (r *request) simple(s string)    { r.reply = redcon.AppendString(r.reply, s) }
func (r *request) bulk(b []byte)      { r.reply = redcon.AppendBulk(r.reply, b) }
func (r *request) text(s string)      { r.reply = redcon.AppendBulkString(r.reply, s) }
func (r *request) integer(n int64)    { r.reply = redcon.AppendInt(r.reply, n) }
func (r *request) null()              { r.reply = redcon.AppendNull(r.reply) }
func (r *request) array(elements int) { r.reply = redcon.AppendArray(r.reply, elements) }

// integer reads an argument that must be a number.
func integer(arg []byte) (int64, error) {
	n, err := strconv.ParseInt(string(arg), 10, 64)
	if err != nil {
		return 0, errInteger
	}
	return n, nil
}
