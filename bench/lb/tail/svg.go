package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"time"

	"github.com/parley-go/parley/lb"
)

// Sizes of the picture, in pixels.
const (
	width    = 960
	left     = 190 // of the bars
	plot     = width - left - 90
	bar      = 16
	headline = 44
	panel    = 34 // the title of a scenario and the space below its bars
)

// The bars run over a logarithmic scale between these.
const (
	shortest = 30 * time.Millisecond
	longest  = 30 * time.Second
)

// Colours that are told apart by everybody, in print, too.
const (
	blue = "#0072b2"
	grey = "#b5b5b5"
)

// drawPicture returns the table as an SVG picture: for each scenario a bar for each
// policy alone, and one for the defaults.
func drawPicture(rows []row) []byte {
	var shown []row
	for _, r := range rows {
		if r.group == alone && r.name != (lb.Weighted{}).String() && r.name != (lb.Maglev{}).String() && r.name != (lb.ConsistentHash{}).String() {
			shown = append(shown, r)
		}
		if r.group == whole && r.name == (lb.LatencyAware{}).String() {
			r.name = "the default"
			shown = append(shown, r)
		}
	}
	all := scenarios()[1:]
	height := headline + len(all)*(panel+bar*len(shown)) + 24
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprint(&out, "<title>The slowest of a hundred calls, by balancing policy</title>\n")
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	text(&out, 12, 24, `font-size="17"`, "The slowest of a hundred calls (p99), by balancing policy")
	y := headline
	for i, s := range all {
		text(&out, 12, y+20, `font-weight="bold"`, s.name)
		drawScale(&out, y+26, bar*len(shown))
		for j := range shown {
			drawBar(&out, y+26+j*bar, &shown[j], &shown[j].results[i+1])
		}
		y += panel + bar*len(shown)
	}
	text(&out, 12, height-8, `fill="#555"`, "50 servers, 10 clients, 70% load, 10 ms mean service time; logarithmic scale. go -C bench run ./lb/tail")
	fmt.Fprint(&out, "</svg>\n")
	return out.Bytes()
}

// at returns the place of a latency on the scale.
func at(d time.Duration) float64 {
	share := math.Log(float64(d)/float64(shortest)) / math.Log(float64(longest)/float64(shortest))
	return plot * min(1, max(0.003, share))
}

func drawScale(out *bytes.Buffer, y, height int) {
	for _, d := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
		x := left + at(d)
		fmt.Fprintf(out, `<path d="M%.1f %dv%d" stroke="#ddd"/>`+"\n", x, y, height)
		text(out, int(x), y-4, `text-anchor="middle" fill="#777" font-size="10"`, d.String())
	}
}

func drawBar(out *bytes.Buffer, y int, r *row, result *result) {
	colour := grey
	if r.config.Policy == (lb.LatencyAware{}) {
		colour = blue
	}
	length := at(result.quantile(0.99))
	text(out, left-8, y+12, `text-anchor="end"`, r.name)
	fmt.Fprintf(out, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, y+2, length, bar-4, colour)
	label := fmt.Sprintf("%.0f ms", result.quantile(0.99).Seconds()*1000)
	if result.errors > 0 {
		label += fmt.Sprintf(", %.2f%% fail", 100*result.errorShare())
	}
	text(out, left+int(length)+6, y+12, "", label)
}

func text(out *bytes.Buffer, x, y int, style, s string) {
	fmt.Fprintf(out, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, style, html.EscapeString(s))
}
