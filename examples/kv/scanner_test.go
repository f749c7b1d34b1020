package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tidwall/redcon"
)

var smallLimits = limits{arguments: 4, argument: 32, line: 48, command: 80} // constant: of the tests here

func TestScannerFindsWholeCommands(t *testing.T) {
	for _, c := range []struct {
		name, input string
		whole       int // bytes of whole commands
	}{
		{"nothing", "", 0},
		{"an array", "*1\r\n$4\r\nPING\r\n", 14},
		{"a part of the next", "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", 14},
		{"an array without its last byte", "*1\r\n$4\r\nPING\r", 0},
		{"an empty argument", "*1\r\n$0\r\n\r\n", 10},
		{"an argument that looks like the protocol", "*1\r\n$8\r\n*9\r\n$1\r\n\r\n", 18},
		{"inline commands", "PING\r\nECHO a\nPI", 13},
		{"empty lines", "\r\n\n\r\n", 5},
		{"both kinds", "PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n", 26},
		{"as large as allowed", "*1\r\n$32\r\n" + strings.Repeat("x", 32) + "\r\n", 43},
	} {
		s := scanner{limits: smallLimits}
		whole, err := s.scan([]byte(c.input))
		require.NoError(t, err, c.name)
		require.Equal(t, c.whole, whole, c.name)
	}
}

// What comes before the mistake is still carried out.
func TestScannerRefusesWhatIsMalformedOrTooLarge(t *testing.T) {
	const good = "*1\r\n$4\r\nPING\r\n"
	for _, c := range []struct{ input, want string }{
		{"*1\r\n$9223372036854775807\r\n", "invalid bulk length"}, // ends redcon with a panic
		{"*1\r\n$9223372036854775806\r\n", "invalid bulk length"},
		{"*1\r\n$99999999999999999999999999\r\n", "invalid bulk length"},
		{"*9223372036854775807\r\n", "invalid multibulk length"}, // keeps redcon busy for ever
		{"*-1\r\n", "invalid multibulk length"},
		{"*0\r\n", "invalid multibulk length"},
		{"*\r\n", "invalid multibulk length"},
		{"*1\n$4\r\nPING\r\n", "invalid multibulk length"},
		{"*1x\r\n", "invalid multibulk length"},
		{"*5\r\n", "invalid multibulk length"},
		{"*1\r\n$33\r\n", "invalid bulk length"},
		{"*1\r\n$-1\r\n", "invalid bulk length"},
		{"*1\r\n$\r\n", "invalid bulk length"},
		{"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"},
		{"*1\r\n$4\r\nPINGS\r\n", "invalid bulk length"},
		{"*1\r\n:4\r\n", "expected '$', got ':'"},
		{"*1\r\n\r\n", "expected '$', got '\\r'"},
		{"*1\r\n\n", "expected '$', got '\\n'"},
		{"*3\r\n$32\r\n" + strings.Repeat("x", 32) + "\r\n$32\r\n", "command too large"},
		{strings.Repeat("x", 49), "too big inline request"},
		{strings.Repeat("x", 49) + "\r\n", "too big inline request"},
		{"*1\r\n" + strings.Repeat("$", 49), "too big bulk count string"},
		{"ECHO \"a\r\n", "unbalanced quotes in request"},
		{"ECHO a\"b\"\r\n", "unbalanced quotes in request"},
	} {
		s := scanner{limits: smallLimits}
		whole, err := s.scan([]byte(good + c.input))
		require.ErrorIs(t, err, protocolError(c.want), "%q", c.input)
		require.Equal(t, len(good), whole, "%q", c.input)
	}
}

// Wherever the network cuts the bytes, the result is the same, and redcon reads
// every command that is let through: no panic, no error, nothing left over.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING\r\n*1\r\n$4\r\nPING\r\n"), uint8(3))
	f.Add([]byte("*1\r\n$9223372036854775807\r\n"), uint8(1))
	f.Add([]byte("*9223372036854775807\r\n"), uint8(7))
	f.Add([]byte("ECHO \"a\\nb\" 'c'\r\n\r\n*1\r\n$0\r\n\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, input []byte, cut uint8) {
		once := scanner{limits: smallLimits}
		whole, err := once.scan(input)
		require.LessOrEqual(t, whole, len(input))

		cutWhole, cutErr := scanInPieces(input, int(cut)+1)
		require.Equal(t, err, cutErr)
		require.Equal(t, whole, cutWhole)

		reader := redcon.NewReader(bytes.NewReader(input[:whole]))
		for err = nil; err == nil; {
			_, err = reader.ReadCommands()
		}
		require.ErrorIs(t, err, io.EOF)
	})
}

// scanInPieces scans as a guard does: some bytes at a time, dropping what is
// whole.
func scanInPieces(input []byte, size int) (whole int, err error) {
	s := scanner{limits: smallLimits}
	kept := []byte(nil)
	for len(input) > 0 && err == nil {
		piece := input[:min(size, len(input))]
		input = input[len(piece):]
		kept = append(kept, piece...)
		var n int
		n, err = s.scan(kept)
		s.shift(n)
		kept = kept[n:]
		whole += n
	}
	return whole, err
}
