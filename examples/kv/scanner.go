package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidwall/redcon"
)

// limits bound one command of a client.
type limits struct {
	arguments int // of one command, its name included
	argument  int // bytes of one argument
	line      int // bytes of one line: an inline command, or the head of an array
	command   int // bytes of one whole command
}

// A protocolError is what a client did to the protocol. Its text goes to the
// client, behind "ERR Protocol error: ", in the words that Redis uses.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// A scanner finds where the commands of a client begin and end, and refuses
// what is malformed or over a limit before anything is allocated for it. It
// reads every byte once, however the network cut them. The zero value with its
// limits set is ready.
type scanner struct {
	limits limits

	begin   int // where the command under way begins
	next    int // the first byte that is not understood yet
	seen    int // no line ends between next and here
	missing int // arguments of the command under way that have not come yet
	body    int // bytes of the argument under way with its line end; 0 for none
}

// scan goes on through input, which is what the last call had and more behind
// it. It returns how many bytes of it are whole commands.
func (s *scanner) scan(input []byte) (whole int, err error) {
	for {
		moved, err := s.step(input)
		if err != nil || !moved {
			return s.begin, err
		}
		if s.missing == 0 {
			s.begin = s.next
		}
	}
}

// shift tells the scanner that the first n bytes of its input are gone.
func (s *scanner) shift(n int) {
	s.begin -= n
	s.next -= n
	s.seen -= n
}

// step understands one line or one argument. It reports false when that needs
// more bytes.
func (s *scanner) step(input []byte) (moved bool, err error) {
	if s.body > 0 {
		return s.argument(input)
	}
	s.seen = max(s.seen, s.next)
	end := bytes.IndexByte(input[s.seen:], '\n')
	if end < 0 {
		s.seen = len(input)
		if len(input)-s.next > s.limits.line {
			return false, s.tooLong()
		}
		return false, nil
	}
	end += s.seen
	line := input[s.next:end]
	if len(line) > s.limits.line {
		return false, s.tooLong()
	}
	s.next = end + 1
	switch {
	case s.missing > 0:
		return true, s.argumentHead(line)
	case len(line) > 0 && line[0] == '*':
		return true, s.arrayHead(line)
	default:
		return true, inline(input[end-len(line) : end+1])
	}
}

// inline looks at a command in plain words, or an empty line. With a mistake in
// it redcon would drop what was sent before it, too.
func inline(line []byte) error {
	_, err := redcon.Parse(line)
	if err == nil {
		return nil
	}
	if text, ok := strings.CutPrefix(err.Error(), "Protocol error: "); ok {
		return protocolError(text)
	}
	return nil // redcon calls an empty line incomplete
}

// argument passes over the bytes of an argument, which redcon slices out later.
func (s *scanner) argument(input []byte) (moved bool, err error) {
	end := s.next + s.body
	if len(input) < end {
		return false, nil
	}
	if input[end-2] != '\r' || input[end-1] != '\n' {
		return false, protocolError("invalid bulk length")
	}
	s.next, s.body = end, 0
	s.missing--
	return true, nil
}

// arrayHead reads "*<count>\r", the first line of a command.
func (s *scanner) arrayHead(line []byte) error {
	count, ok := parseLength(line[1:], s.limits.arguments)
	if !ok || count == 0 {
		return protocolError("invalid multibulk length")
	}
	s.missing = count
	return nil
}

// argumentHead reads "$<length>\r", the line before an argument.
func (s *scanner) argumentHead(line []byte) error {
	if len(line) == 0 || line[0] != '$' {
		got := '\n'
		if len(line) > 0 {
			got = rune(line[0])
		}
		return protocolError(fmt.Sprintf("expected '$', got %+q", got))
	}
	length, ok := parseLength(line[1:], s.limits.argument)
	if !ok {
		return protocolError("invalid bulk length")
	}
	s.body = length + len("\r\n")
	if s.next+s.body-s.begin > s.limits.command {
		return protocolError("command too large")
	}
	return nil
}

func (s *scanner) tooLong() error {
	if s.missing > 0 {
		return protocolError("too big bulk count string")
	}
	return protocolError("too big inline request")
}

// parseLength reads digits and "\r": a number from 0 to bound, and nothing else.
func parseLength(b []byte, bound int) (n int, ok bool) {
	digits, ended := bytes.CutSuffix(b, []byte("\r"))
	if !ended || len(digits) == 0 || len(digits) > len("9223372036854775807") {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(string(digits))
	return n, err == nil && n <= bound
}
