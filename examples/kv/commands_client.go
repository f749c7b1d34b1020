package main

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// The commands that concern the connection and the server, as far as clients
// ask for them when they connect.

func (c *commands) ping(r *request) error {
	if len(r.args) == 0 {
		r.simple("PONG")
	} else {
		r.bulk(r.args[0])
	}
	return nil
}

func (c *commands) echo(r *request) error {
	r.bulk(r.args[0])
	return nil
}

// hello tells what the server is. It speaks RESP2 only, and refuses another
// version the way that makes clients fall back to it.
func (c *commands) hello(r *request) error {
	name, rename := []byte(nil), false
	for i, arg := range r.args {
		switch {
		case i == 0:
			version, err := integer(arg)
			if err != nil {
				return replyError("ERR Protocol version is not an integer or out of range")
			}
			if version != 2 {
				return replyError("NOPROTO unsupported protocol version")
			}
		case i == 1 && len(r.args) == 3 && strings.EqualFold(string(arg), "setname"):
			name, rename = r.args[2], true
		case i == 2 && rename:
		default:
			return replyError("ERR Syntax error in HELLO option '" + string(clip(arg)) + "'")
		}
	}
	if rename {
		if err := r.client.rename(name); err != nil {
			return err
		}
	}
	r.array(14)
	r.text("server")
	r.text("parley-kv")
	r.text("version")
	r.text(version)
	r.text("proto")
	r.integer(2)
	r.text("id")
	r.integer(r.client.id)
	r.text("mode")
	r.text("standalone")
	r.text("role")
	r.text("master")
	r.text("modules")
	r.array(0)
	return nil
}

// selectDatabase knows one database, number 0.
func (c *commands) selectDatabase(r *request) error {
	n, err := integer(r.args[0])
	if err != nil {
		return err
	}
	if n != 0 {
		return replyError("ERR DB index is out of range")
	}
	r.ok()
	return nil
}

func (c *commands) showInfo(r *request) error {
	section := ""
	if len(r.args) > 0 {
		section = strings.ToLower(string(r.args[0]))
	}
	r.text(c.info(section))
	return nil
}

func (c *commands) quit(r *request) error {
	r.client.quit = true
	r.ok()
	return nil
}

func (c *commands) clientID(r *request) error {
	r.integer(r.client.id)
	return nil
}

func (c *commands) clientGetName(r *request) error {
	r.text(r.client.name)
	return nil
}

func (c *commands) clientSetName(r *request) error {
	if err := r.client.rename(r.args[0]); err != nil {
		return err
	}
	r.ok()
	return nil
}

// rename takes a name of printable characters without spaces, at most 128.
func (c *client) rename(name []byte) error {
	for _, b := range name {
		if b < '!' || b > '~' {
			return replyError("ERR Client names cannot contain spaces, newlines or special characters.")
		}
	}
	if len(name) > clipped {
		return replyError("ERR Client names have at most 128 characters.")
	}
	c.name = string(name)
	return nil
}

// clientSetInfo takes the name and version of the client's library and has no
// use for them.
func (c *commands) clientSetInfo(r *request) error {
	if field := strings.ToLower(string(clip(r.args[0]))); field != "lib-name" && field != "lib-ver" {
		return replyError("ERR Unrecognized option '" + string(clip(r.args[0])) + "'")
	}
	r.ok()
	return nil
}

// configGet answers the settings that match a pattern. Nothing can be set.
func (c *commands) configGet(r *request) error {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(c.settings)) {
		for _, pattern := range r.args {
			if ok, err := path.Match(strings.ToLower(string(pattern)), name); err == nil && ok {
				found = append(found, name, c.settings[name])
				break
			}
		}
	}
	r.array(len(found))
	for _, s := range found {
		r.text(s)
	}
	return nil
}

// describe tells no details of any command. Clients start without them.
func (c *commands) describe(r *request) error {
	r.array(0)
	return nil
}

func (c *commands) countCommands(r *request) error {
	r.integer(int64(len(c.table)))
	return nil
}
