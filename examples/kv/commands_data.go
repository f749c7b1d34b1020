package main

import (
	"strings"
	"time"
)

// The commands that read and write keys.

func (c *commands) get(r *request) error {
	it, err := c.read(r, r.args[0])
	if err != nil {
		return err
	}
	r.item(it)
	return nil
}

// read gets the item of one key.
func (c *commands) read(r *request, key []byte) (item, error) {
	items, err := c.store.Get(r.ctx, string(key))
	if err != nil {
		return item{}, err
	}
	return items[0], nil
}

// item replies with a value, or with null where there is none any more.
func (r *request) item(it item) {
	if it.expired(r.now) {
		r.null()
	} else {
		r.bulk(it.value)
	}
}

// edit carries out one edit. The error may be the outcome's.
func (c *commands) edit(r *request, e edit) (outcome, error) {
	outcomes, err := c.store.Edit(r.ctx, e)
	if err != nil {
		return outcome{}, err
	}
	if failure := outcomes[0].failure; failure != "" {
		return outcome{}, failure
	}
	return outcomes[0], nil
}

// before replies with what was there before an edit.
func (r *request) before(o outcome) {
	if o.existed {
		r.bulk(o.before.value)
	} else {
		r.null()
	}
}

func (c *commands) set(r *request) error {
	e, err := c.parseSet(r.args, r.now)
	if err != nil {
		return err
	}
	o, err := c.edit(r, e)
	switch {
	case err != nil:
		return err
	case e.wantsOld && o.repeated && e.only != ifAbsent:
		return replyError("UNCERTAIN the value is written; the node that knew the old one fell silent")
	case e.wantsOld:
		r.before(o)
	case o.done:
		r.ok()
	default:
		r.null()
	}
	return nil
}

// parseSet reads key, value and options. Options that contradict each other are
// a syntax error, as in Redis. IFEQ is that of Valkey 8.1.
func (c *commands) parseSet(args [][]byte, now time.Time) (edit, error) {
	e := edit{verb: put, key: string(args[0]), item: item{value: args[1]}}
	for i := 2; i < len(args); i++ {
		name := strings.ToLower(string(clip(args[i])))
		timed := e.keepExpiry || e.item.expires != never
		switch {
		case name == "get":
			e.wantsOld = true
		case name == "nx" && (e.only == always || e.only == ifAbsent):
			e.only = ifAbsent
		case name == "xx" && (e.only == always || e.only == ifPresent):
			e.only = ifPresent
		case name == "ifeq" && c.strict && e.only == always && i+1 < len(args):
			i++
			e.only, e.equals = ifEqual, args[i]
		case name == "keepttl" && e.item.expires == never:
			e.keepExpiry = true
		case isExpiry(name) && !timed && i+1 < len(args):
			i++
			var err error
			if e.item.expires, err = parseExpiry(name, args[i], now); err != nil {
				return edit{}, err
			}
		default:
			return edit{}, errSyntax
		}
	}
	return e, nil
}

func isExpiry(name string) bool {
	return name == "ex" || name == "px" || name == "exat" || name == "pxat"
}

// parseExpiry turns EX, PX, EXAT or PXAT and its number into a point in time.
func parseExpiry(name string, arg []byte, now time.Time) (int64, error) {
	const invalid replyError = "ERR invalid expire time in 'set' command"
	n, err := integer(arg)
	if err != nil {
		return never, err
	}
	if !strings.HasPrefix(name, "p") {
		if n > maxExpiry/1000 {
			return never, invalid
		}
		n *= 1000
	}
	if n <= 0 || n > maxExpiry {
		return never, invalid
	}
	if !strings.HasSuffix(name, "at") {
		n += now.UnixMilli()
	}
	return n, nil
}

// del removes what is there. Of a strict store it removes all keys at once;
// otherwise an error leaves those before it removed.
func (c *commands) del(r *request) error {
	edits := make([]edit, len(r.args))
	for i, key := range r.args {
		edits[i] = edit{verb: remove, key: string(key), only: ifPresent}
	}
	outcomes, err := c.store.Edit(r.ctx, edits...)
	if err != nil {
		return err
	}
	removed := int64(0)
	for _, o := range outcomes {
		if o.done {
			removed++
		}
	}
	r.integer(removed)
	return nil
}

// readAll gets the items of all arguments: of a strict store, all as they were at
// one moment.
func (c *commands) readAll(r *request) ([]item, error) {
	keys := make([]string, len(r.args))
	for i, key := range r.args {
		keys[i] = string(key)
	}
	return c.store.Get(r.ctx, keys...)
}

// exists counts; a key named twice counts twice, as in Redis.
func (c *commands) exists(r *request) error {
	items, err := c.readAll(r)
	if err != nil {
		return err
	}
	n := int64(0)
	for _, it := range items {
		if !it.expired(r.now) {
			n++
		}
	}
	r.integer(n)
	return nil
}

func (c *commands) ttl(r *request) error { return c.remaining(r, time.Second) }

func (c *commands) pttl(r *request) error { return c.remaining(r, time.Millisecond) }

// remaining answers -2 for a key that is not there and -1 for one that does not
// expire. Seconds are rounded to the nearest, as in Redis.
func (c *commands) remaining(r *request, unit time.Duration) error {
	it, err := c.read(r, r.args[0])
	switch {
	case err != nil:
		return err
	case it.expired(r.now):
		r.integer(-2)
	case it.expires == never:
		r.integer(-1)
	default:
		per := unit.Milliseconds()
		r.integer((it.expires - r.now.UnixMilli() + per/2) / per)
	}
	return nil
}
