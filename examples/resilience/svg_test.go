package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The picture is well-formed XML with six curves of a point for each second, all
// of them inside the frame, whatever was counted and however acts are called.
func TestPictureIsWellFormed(t *testing.T) {
	acts := []act{{name: `<&"' act`, seconds: 3}, {name: overload, seconds: 2}}
	for _, most := range []int{0, 1, 999, 1000, 13717, 1e9} {
		r := newRecord(length(acts))
		for i := range r.slots {
			for e := range r.slots[i] {
				r.slots[i][e] = most * i / len(r.slots)
			}
		}
		curves, words := readPicture(t, draw(acts, r, newRecord(5*time.Second)))
		require.Contains(t, words, `<&"' act`)
		require.Len(t, curves, 6)
		for _, c := range curves {
			require.Len(t, c, 5)
			for _, p := range c {
				require.True(t, p[0] >= left && p[0] <= left+plot && p[1] >= firstTop && p[1] <= secondTop+tall, "most %d: %v", most, p)
			}
		}
	}
}

// readPicture returns the points of all curves, and all words.
func readPicture(t *testing.T, picture []byte) (curves [][][2]float64, words []string) {
	d := xml.NewDecoder(bytes.NewReader(picture))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return curves, words
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.CharData:
			words = append(words, string(token))
		case xml.StartElement:
			for _, a := range token.Attr {
				if a.Name.Local == "points" {
					curves = append(curves, points(t, a.Value))
				}
			}
		}
	}
}

func points(t *testing.T, s string) (list [][2]float64) {
	for pair := range strings.FieldsSeq(s) {
		x, y, ok := strings.Cut(pair, ",")
		require.True(t, ok, pair)
		px, err := strconv.ParseFloat(x, 64)
		require.NoError(t, err)
		py, err := strconv.ParseFloat(y, 64)
		require.NoError(t, err)
		list = append(list, [2]float64{px, py})
	}
	return list
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for most, want := range map[int]int{1000: 200, 1600: 500, 3036: 500, 4000: 1000, 9999: 2000, 13717: 2000} {
		require.Equal(t, want, tick(most), "%d", most)
	}
}
