package main

import (
	"strings"
	"time"
)

// The commands that read and write keys.

func (c *commands) get(r *request) error {
	it, found, err := c.live(r, r.args[0])
	if err != nil {
		return err
	}
	r.item(it, found)
	return nil
}

// item replies with a value, or with null where there is none.
func (r *request) item(it item, found bool) {
	if found {
		r.bulk(it.value)
	} else {
		r.null()
	}
}

// live gets the item of a key unless it has expired.
func (c *commands) live(r *request, key []byte) (it item, found bool, err error) {
	it, found, err = c.store.Get(r.ctx, string(key))
	return it, found && !it.expired(r.now), err
}

func (c *commands) set(r *request) error {
	o, err := parseSet(r.args, r.now)
	if err != nil {
		return err
	}
	if o.unconditional() {
		if err := c.store.Set(r.ctx, o.key, o.edit.item); err != nil {
			return err
		}
		r.ok()
		return nil
	}
	out, err := c.store.Edit(r.ctx, o.key, o.edit)
	switch {
	case err != nil:
		return err
	case o.wantsOld && out.repeated && o.edit.only != ifAbsent:
		return replyError("UNCERTAIN the value is written; the node that knew the old one fell silent")
	case o.wantsOld:
		r.item(out.before, out.existed)
	case out.done:
		r.ok()
	default:
		r.null()
	}
	return nil
}

// A setOrder is a SET with its options understood.
type setOrder struct {
	key      string
	edit     edit
	wantsOld bool // GET: answer with the value that was there
}

// unconditional reports whether the order can be carried out without looking at
// what is there.
func (o setOrder) unconditional() bool {
	return o.edit.only == always && !o.edit.keepExpiry && !o.wantsOld
}

// parseSet reads key, value and options. Options that contradict each other are
// a syntax error, as in Redis.
func parseSet(args [][]byte, now time.Time) (setOrder, error) {
	o := setOrder{key: string(args[0]), edit: edit{verb: put, item: item{value: args[1]}}}
	for i := 2; i < len(args); i++ {
		name := strings.ToLower(string(clip(args[i])))
		timed := o.edit.keepExpiry || o.edit.item.expires != never
		switch {
		case name == "get":
			o.wantsOld = true
		case name == "nx" && o.edit.only != ifPresent:
			o.edit.only = ifAbsent
		case name == "xx" && o.edit.only != ifAbsent:
			o.edit.only = ifPresent
		case name == "keepttl" && o.edit.item.expires == never:
			o.edit.keepExpiry = true
		case isExpiry(name) && !timed && i+1 < len(args):
			i++
			var err error
			if o.edit.item.expires, err = parseExpiry(name, args[i], now); err != nil {
				return setOrder{}, err
			}
		default:
			return setOrder{}, errSyntax
		}
	}
	return o, nil
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

// del removes what is there, one key after the other. An error leaves those
// before it removed.
func (c *commands) del(r *request) error {
	removed := int64(0)
	for _, key := range r.args {
		out, err := c.store.Edit(r.ctx, string(key), edit{verb: remove, only: ifPresent})
		if err != nil {
			return err
		}
		if out.done {
			removed++
		}
	}
	r.integer(removed)
	return nil
}

// exists counts; a key named twice counts twice, as in Redis.
func (c *commands) exists(r *request) error {
	n := int64(0)
	for _, key := range r.args {
		_, found, err := c.live(r, key)
		if err != nil {
			return err
		}
		if found {
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
	it, found, err := c.live(r, r.args[0])
	switch {
	case err != nil:
		return err
	case !found:
		r.integer(-2)
	case it.expires == never:
		r.integer(-1)
	default:
		per := unit.Milliseconds()
		r.integer((it.expires - r.now.UnixMilli() + per/2) / per)
	}
	return nil
}
