package main

import (
	"fmt"
	"math"
	"time"
)

// The commands that decide by what is there, or touch several keys at once, and
// that a client relies on. They need a strict store.

func (c *commands) strictTable() map[string]command {
	return map[string]command{
		"mget":    {least: 1, most: -1, run: c.mget},
		"mset":    {least: 2, most: -1, run: c.mset},
		"getset":  {least: 2, most: 2, run: c.getSet},
		"getdel":  {least: 1, most: 1, run: c.getDel},
		"incr":    {least: 1, most: 1, run: func(r *request) error { return c.increase(r, 1) }},
		"decr":    {least: 1, most: 1, run: func(r *request) error { return c.increase(r, -1) }},
		"incrby":  {least: 2, most: 2, run: c.incrBy},
		"decrby":  {least: 2, most: 2, run: c.decrBy},
		"append":  {least: 2, most: 2, run: c.extend},
		"expire":  {least: 2, most: 2, run: func(r *request) error { return c.expire(r, "expire", time.Second) }},
		"pexpire": {least: 2, most: 2, run: func(r *request) error { return c.expire(r, "pexpire", time.Millisecond) }},
		"persist": {least: 1, most: 1, run: c.persist},
	}
}

// maxTogether bounds the values of one MGET, in bytes: a key may be named many
// times.
const maxTogether = 1 << 20

func (c *commands) mget(r *request) error {
	items, err := c.readAll(r)
	if err != nil {
		return err
	}
	size := 0
	for _, it := range items {
		size += len(it.value)
	}
	if size > maxTogether {
		return replyError(fmt.Sprintf("ERR the values have %d bytes, one reply has at most %d", size, maxTogether))
	}
	r.array(len(items))
	for _, it := range items {
		r.item(it)
	}
	return nil
}

func (c *commands) mset(r *request) error {
	if len(r.args)%2 != 0 {
		return replyError("ERR wrong number of arguments for 'mset' command")
	}
	var edits []edit
	for i := 0; i < len(r.args); i += 2 {
		edits = append(edits, edit{verb: put, key: string(r.args[i]), item: item{value: r.args[i+1]}})
	}
	if _, err := c.store.Edit(r.ctx, edits...); err != nil {
		return err
	}
	r.ok()
	return nil
}

func (c *commands) getSet(r *request) error {
	return c.exchange(r, edit{verb: put, item: item{value: r.args[1]}})
}

func (c *commands) getDel(r *request) error {
	return c.exchange(r, edit{verb: remove, only: ifPresent})
}

// exchange replies with what an edit of the first argument found.
func (c *commands) exchange(r *request, e edit) error {
	e.key, e.wantsOld = string(r.args[0]), true
	o, err := c.edit(r, e)
	if err != nil {
		return err
	}
	r.before(o)
	return nil
}

func (c *commands) incrBy(r *request) error {
	n, err := integer(r.args[1])
	if err != nil {
		return err
	}
	return c.increase(r, n)
}

func (c *commands) decrBy(r *request) error {
	n, err := integer(r.args[1])
	switch {
	case err != nil:
		return err
	case n == math.MinInt64:
		return replyError("ERR decrement would overflow")
	}
	return c.increase(r, -n)
}

func (c *commands) increase(r *request, by int64) error {
	return c.number(r, edit{verb: add, by: by})
}

func (c *commands) extend(r *request) error {
	return c.number(r, edit{verb: extend, item: item{value: r.args[1]}})
}

// number replies with the number that an edit of the first argument gives.
func (c *commands) number(r *request, e edit) error {
	e.key = string(r.args[0])
	o, err := c.edit(r, e)
	if err != nil {
		return err
	}
	r.integer(o.number)
	return nil
}

// expire takes a time from now on. One that is over removes the key, as in Redis.
func (c *commands) expire(r *request, name string, unit time.Duration) error {
	n, err := integer(r.args[1])
	if err != nil {
		return err
	}
	per := unit.Milliseconds()
	if n > maxExpiry/per || n < -maxExpiry/per {
		return replyError("ERR invalid expire time in '" + name + "' command")
	}
	return c.flag(r, edit{verb: expire, only: ifPresent, item: item{expires: max(1, r.now.UnixMilli()+n*per)}})
}

func (c *commands) persist(r *request) error {
	return c.flag(r, edit{verb: expire, only: ifPresent})
}

// flag replies with 1 if an edit of the first argument is carried out, else 0.
func (c *commands) flag(r *request, e edit) error {
	e.key = string(r.args[0])
	o, err := c.edit(r, e)
	if err != nil {
		return err
	}
	n := int64(0)
	if o.done {
		n = 1
	}
	r.integer(n)
	return nil
}
