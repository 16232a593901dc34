// Command benchstores compares the writer of each store with the store's own bulk loader: it
// runs the benchmarks named …Loader of all stores and prints their ratios as a table in
// Markdown. Where less than the ratio of -least is reached, it exits 1.
//
//	go run ./tools/benchstores -least 0.7
//
// Its tests, started with -pings, compare stores with each other: the same pings in each, how
// many bytes they take there, how long the server works for them, and how long reads take.
// Both need real servers, which they start and which make has built or the system's packages
// have.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	least := flag.Float64("least", 0, "ratio that each writer must reach")
	times := flag.Int("times", 5, "rounds of each")
	flag.Parse()
	if err := loaders(*least, *times, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "benchstores:", err)
		os.Exit(1)
	}
}

// loaders runs the benchmarks in packages, by default those of all stores, one after the other.
func loaders(least float64, times int, packages []string) error {
	if len(packages) == 0 {
		packages = []string{"./sink/clickhouse", "./sink/postgres", "./sink/cassandra", "./sink/redis", "./sink/kafka", "./sink/sqs"}
	}
	args := append([]string{"test", "-p", "1", "-run", "^$", "-bench", "Loader$", "-benchtime", strconv.Itoa(times) + "x", "-timeout", "60m", "-v"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	list, left, err := parse(io.TeeReader(out, os.Stderr))
	if err = errors.Join(err, cmd.Wait()); err != nil {
		return err
	}
	fmt.Printf("\n| writer | rows/s | loader | rows/s | ratio |\n|---|---|---|---|---|\n")
	slow := 0
	for _, r := range list {
		fmt.Printf("| %s | %.0f | %s | %.0f | %.2f |\n", r.store, r.rate, r.loader, r.loaderRate, r.ratio)
		if r.ratio < least {
			slow++
		}
	}
	for _, why := range left {
		fmt.Println("\nLeft out:", why)
	}
	if slow > 0 {
		return fmt.Errorf("%d of %d writers are slower than %g times their loader", slow, len(list), least)
	}
	return nil
}

// race is the outcome of a benchmark in which a writer and a loader took turns.
type race struct {
	store, loader           string
	rate, loaderRate, ratio float64
}

var resultLine = regexp.MustCompile(`^Benchmark\S*Loader/(\S+?)(-\d+)?\s+\d+\s+(.*)$`)

// parse reads the output of go test -bench -v, and why benchmarks were left out.
func parse(from io.Reader) (list []race, left []string, err error) {
	lines := bufio.NewScanner(from)
	why := ""
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "--- SKIP: "); ok {
			left = append(left, name+": "+why)
		}
		if text, ok := strings.CutPrefix(line, "    "); ok { // go test prints the reason first
			_, why, _ = strings.Cut(text, ": ")
		}
		m := resultLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		store, loader, _ := strings.Cut(strings.ReplaceAll(m[1], "_", " "), "/")
		r := race{store: store, loader: loader}
		f := strings.Fields(m[3])
		for i := 0; i+1 < len(f); i += 2 {
			of := map[string]*float64{"rows/s": &r.rate, "loader-rows/s": &r.loaderRate, "ratio": &r.ratio}[f[i+1]]
			if of == nil {
				continue
			}
			if *of, err = strconv.ParseFloat(f[i], 64); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", line, err)
			}
		}
		if slices.Contains([]float64{r.rate, r.loaderRate, r.ratio}, 0) {
			return nil, nil, fmt.Errorf("%s: it lacks rows/s, loader-rows/s or ratio", line)
		}
		list = append(list, r)
	}
	return list, left, lines.Err()
}
