// Command bench runs the comparisons with the peers and prints them as Markdown:
//
//	go -C bench run .                      every table, three runs each, medians
//	go -C bench run . ring                 the tables of one package
//	go -C bench run . -bench Owner ring    some of them
//	go -C bench run . -o README.md         into the README
//	go -C bench run . -o README.md ring    one section of it
//
// Ours and the peers' run in one process, one after the other in the same run,
// because only a ratio from the same run says anything on a shared machine.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	bench := flag.String("bench", ".", "which benchmarks, a regular expression as for go test")
	count := flag.Int("count", 3, "how often each is run; the table shows medians")
	benchtime := flag.String("benchtime", "300ms", "how long each run lasts, as for go test")
	out := flag.String("o", "", "write to this `file` instead of the standard output")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go -C bench run . [flags] [folder ...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	folders := flag.Args()
	if len(folders) == 0 {
		folders = benchFolders()
	}
	if err := run(folders, *bench, *count, *benchtime, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// benchFolders lists the folders with comparisons, one for each package.
func benchFolders() (folders []string) {
	entries, _ := os.ReadDir(".")
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			folders = append(folders, e.Name())
		}
	}
	return folders
}

// run measures the folders, one section each. Written to a file, they take the
// place of its sections of that name, and the others stay.
func run(folders []string, bench string, count int, benchtime, out string) error {
	sections := map[string]string{}
	if out != "" {
		page, err := os.ReadFile(out)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		sections = splitSections(string(page))
	}
	for _, folder := range folders {
		results, err := measure(folder, bench, count, benchtime)
		if err != nil {
			return err
		}
		var section strings.Builder
		fmt.Fprintf(&section, "%s\n", origin())
		writeTables(&section, results)
		sections[folder] = section.String()
	}
	var page strings.Builder
	page.WriteString(head)
	for _, folder := range slices.Sorted(maps.Keys(sections)) {
		page.WriteString("\n" + sectionHead + folder + "\n\n" + sections[folder])
	}
	if out == "" {
		_, err := os.Stdout.WriteString(page.String())
		return err
	}
	return os.WriteFile(out, []byte(page.String()), 0o644)
}

const sectionHead = "## "

// splitSections returns the contents of a page's sections by their names.
func splitSections(page string) map[string]string {
	sections := map[string]string{}
	parts := strings.Split("\n"+page, "\n"+sectionHead)
	for _, part := range parts[1:] {
		name, content, _ := strings.Cut(part, "\n")
		sections[name] = strings.Trim(content, "\n") + "\n"
	}
	return sections
}

// measure runs the benchmarks of one folder, showing their progress.
func measure(folder, bench string, count int, benchtime string) ([]result, error) {
	cmd := exec.Command("go", "test", "./"+folder, "-run", "^$", "-bench", bench, "-benchmem",
		"-benchtime", benchtime, "-count", fmt.Sprint(count), "-timeout", "60m")
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, os.Stderr)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return parse(out.String())
}

const head = `# Benchmarks

Ours beside the peers, in one run for each section. Regenerate them all, or some:

	go -C bench run . -o README.md
	go -C bench run . -o README.md ring lb

Cells are medians; **bold** is the best of a row. The last column divides the best
peer by ours where less is better, and ours by the best peer where more is
better: above 1, we lead. Only ratios inside one table mean anything on another
machine.
`

// origin says where the figures of a section come from.
func origin() string {
	return fmt.Sprintf("%s, %d CPUs, %s; commit %s, %s.", cpu(), runtime.NumCPU(), runtime.Version(), commit(), time.Now().UTC().Format(time.DateOnly))
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
