package raft

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/parley-go/parley/transport"
)

// Defaults of Config.
const (
	DefaultHeartbeat       = 100 * time.Millisecond // Heartbeat
	DefaultElection        = time.Second            // Election, but at least 5 Heartbeats
	DefaultMaxCommand      = 1 << 20                // MaxCommand
	DefaultMaxUncommitted  = 64 << 20               // MaxUncommitted
	DefaultMaxUnapplied    = 64 << 20               // MaxUnapplied
	DefaultSnapshotEntries = 100_000                // SnapshotEntries
	DefaultSnapshotBytes   = 64 << 20               // SnapshotBytes
	DefaultKeepEntries     = 10_000                 // KeepEntries
)

// LargestCommand is the upper bound of Config.MaxCommand: with what goes around
// it, an entry fits into a message of transport.DefaultMaxMessage.
const LargestCommand = 3 << 20

// MaxGroup is the longest name of a group, in bytes.
const MaxGroup = transport.MaxName - len(defaultService) - 1

// What a leader has on the way to one follower.
const (
	appendBytes   = 1 << 20 // in one message
	inflight      = 256     // messages
	inflightBytes = 8 << 20
)

// A Config says how a Node runs. Transport, Storage and StateMachine are
// required; the zero value of the rest is a good default. Group, Heartbeat,
// Election, LeaseReads and MaxClockDrift must be the same on all nodes.
type Config struct {
	// Group names the group of nodes that replicate one log, where several share
	// a transport: 0 to MaxGroup bytes, default empty. See Host.
	Group string
	// Transport carries the messages, and its Local is the node's name. It must
	// carry messages of 2 MiB, or of MaxCommand if that is more, plus 1 KiB. Close
	// it after the Node.
	// Host.Start takes the transport of the host if it is nil.
	Transport transport.Transport
	// Storage keeps the log. It belongs to this node alone. Close it, if there is
	// anything to close, after the Node.
	Storage Storage
	// StateMachine applies the commands.
	StateMachine StateMachine
	// Voters and Learners are the first membership, the same on every node that
	// starts a group: it counts where nothing was ever saved. A node that is to
	// join a group that exists starts with neither, and waits for Reconfigure to
	// name it. So does a node whose disk was replaced, if it was the only voter
	// in the beginning: nobody else could tell it that there is a past.
	Voters, Learners []string

	// Heartbeat is the time between two heartbeats of a leader: at least 1 ms,
	// default DefaultHeartbeat. It should be some times the round trip. A follower
	// learns of the latest commit after an eighth of it, if the log rests.
	Heartbeat time.Duration
	// Election is how long a follower waits for its leader before it seeks to
	// take over; some wait up to twice as long. At least 2 Heartbeats; default
	// DefaultElection, or 5 Heartbeats if that is more. Shorter finds a new leader
	// sooner, and loses good ones to short pauses of the network or of the process.
	Election time.Duration
	// MaxCommand is the largest command in bytes: 1 to LargestCommand, default
	// DefaultMaxCommand. Above it Propose answers ErrTooLarge.
	MaxCommand int
	// MaxUncommitted bounds the entries that wait for followers and disks, in
	// bytes, and those that wait to be proposed: at least MaxCommand, default
	// DefaultMaxUncommitted. At the bound Propose answers ErrOverloaded. Each entry
	// counts 48 bytes besides its data, here and below.
	MaxUncommitted int
	// MaxUnapplied bounds the committed entries that wait for the state machine,
	// in bytes: at least MaxCommand, default DefaultMaxUnapplied. At the bound
	// Propose answers ErrOverloaded on the leader; a follower takes no more
	// entries, and so no longer counts for commitment until it has caught up.
	MaxUnapplied int

	// SnapshotEntries and SnapshotBytes say how long the log may get before a
	// snapshot is taken, in entries and in bytes, whichever comes first: at least
	// 1, default DefaultSnapshotEntries and DefaultSnapshotBytes. More takes memory
	// and makes restarts longer; less writes more.
	SnapshotEntries int
	SnapshotBytes   int64
	// DisableSnapshots has the log grow for ever, in memory and in Storage.
	// Snapshots of other nodes are taken over all the same.
	DisableSnapshots bool
	// KeepEntries is how many entries from before a snapshot are kept for
	// followers that are behind, so that they need no snapshot: default
	// DefaultKeepEntries; DisableKeep keeps none.
	KeepEntries int
	// DisableKeep sets KeepEntries to 0.
	DisableKeep bool

	// LeaseReads lets a leader answer Barrier without asking its followers while
	// a majority has confirmed it within Election less MaxClockDrift: followers
	// do not elect another within Election of hearing from it. It rests on clocks
	// that run evenly: where one may stop while others go on, as in a virtual
	// machine that is suspended, it can return stale data. Off by default.
	LeaseReads bool
	// MaxClockDrift is by how much one node's monotonic clock may gain on
	// another's within one Election: above 0 and below Election, default a tenth
	// of Election. It counts only with LeaseReads.
	MaxClockDrift time.Duration

	// Seed makes the random part of election times: default 0, which draws one.
	// The same seed on all nodes does no harm.
	Seed uint64
	// Logger is told of leaders, snapshots and failures: default none.
	Logger *slog.Logger
}

// withDefaults returns the config with its defaults filled in, or an error that
// names the field that is wrong.
func (c Config) withDefaults() (Config, error) {
	c.Heartbeat = orDefault(c.Heartbeat, DefaultHeartbeat)
	c.Election = orDefault(c.Election, max(DefaultElection, 5*c.Heartbeat))
	c.MaxCommand = orDefault(c.MaxCommand, DefaultMaxCommand)
	c.MaxUncommitted = orDefault(c.MaxUncommitted, DefaultMaxUncommitted)
	c.MaxUnapplied = orDefault(c.MaxUnapplied, DefaultMaxUnapplied)
	c.SnapshotEntries = orDefault(c.SnapshotEntries, DefaultSnapshotEntries)
	c.SnapshotBytes = orDefault(c.SnapshotBytes, DefaultSnapshotBytes)
	c.KeepEntries = orDefault(c.KeepEntries, DefaultKeepEntries)
	c.MaxClockDrift = orDefault(c.MaxClockDrift, c.Election/10)
	c.Seed = orDefault(c.Seed, rand.Uint64())
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.DisableKeep {
		c.KeepEntries = 0
	}
	return c, c.check()
}

func (c *Config) check() error {
	invalid := func(format string, args ...any) error { return fmt.Errorf("raft: Config."+format, args...) }
	switch {
	case c.Transport == nil:
		return invalid("Transport is nil")
	case c.Storage == nil:
		return invalid("Storage is nil")
	case c.StateMachine == nil:
		return invalid("StateMachine is nil")
	case len(c.Group) > MaxGroup:
		return invalid("Group has %d bytes, it may have %d", len(c.Group), MaxGroup)
	case c.Heartbeat < time.Millisecond:
		return invalid("Heartbeat is %v, it must be at least 1ms", c.Heartbeat)
	case c.Election < 2*c.Heartbeat:
		return invalid("Election is %v, it must be at least twice Heartbeat, %v", c.Election, c.Heartbeat)
	case c.MaxCommand < 1 || c.MaxCommand > LargestCommand:
		return invalid("MaxCommand is %d, it must be 1 to %d", c.MaxCommand, LargestCommand)
	case c.MaxUncommitted < c.MaxCommand:
		return invalid("MaxUncommitted is %d, it must be at least MaxCommand, %d", c.MaxUncommitted, c.MaxCommand)
	case c.MaxUnapplied < c.MaxCommand:
		return invalid("MaxUnapplied is %d, it must be at least MaxCommand, %d", c.MaxUnapplied, c.MaxCommand)
	case c.SnapshotEntries < 1:
		return invalid("SnapshotEntries is %d, it must be at least 1", c.SnapshotEntries)
	case c.SnapshotBytes < 1:
		return invalid("SnapshotBytes is %d, it must be at least 1", c.SnapshotBytes)
	case c.KeepEntries < 0:
		return invalid("KeepEntries is %d, it must be at least 1", c.KeepEntries)
	case c.MaxClockDrift <= 0 || c.MaxClockDrift >= c.Election:
		return invalid("MaxClockDrift is %v, it must be above 0 and below Election, %v", c.MaxClockDrift, c.Election)
	}
	if len(c.Voters)+len(c.Learners) == 0 {
		return nil
	}
	if err := (Membership{Voters: c.Voters, Learners: c.Learners}).check(); err != nil {
		return fmt.Errorf("raft: Config.Voters and Config.Learners: %w", err)
	}
	return nil
}

// core returns what the core needs of the config.
func (c *Config) core() coreConfig {
	config := coreConfig{
		id: c.Transport.Local(), voters: c.Voters, learners: c.Learners,
		heartbeat: c.Heartbeat, election: c.Election, seed: c.Seed,
		maxAppendBytes: appendBytes, maxInflight: inflight, maxInflightBytes: inflightBytes,
	}
	if c.LeaseReads {
		config.lease = c.Election - c.MaxClockDrift
	}
	return config
}

// A HostConfig says how a Host runs. Transport is required.
type HostConfig struct {
	// Transport carries the messages of all groups. Close it after the Host.
	Transport transport.Transport
	// Service is the name under which hosts talk: default "raft", the same on all
	// nodes. Start takes the default, too, with a slash and the group behind it if
	// there is one.
	Service string
}

const defaultService = "raft"

func (c HostConfig) withDefaults() (HostConfig, error) {
	c.Service = orDefault(c.Service, defaultService)
	if c.Transport == nil {
		return c, errors.New("raft: HostConfig.Transport is nil")
	}
	if err := transport.CheckName("service", c.Service); err != nil {
		return c, fmt.Errorf("raft: HostConfig.Service: %w", err)
	}
	return c, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
