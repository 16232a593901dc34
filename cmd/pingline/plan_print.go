package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// terminal is how wide the text may be.
const terminal = 100

func (n *needs) print(w io.Writer) error {
	var b strings.Builder
	b.WriteString(wrap(n.verdict(), terminal, ""))
	for _, s := range n.advice() {
		b.WriteString(wrap(s, terminal, ""))
	}
	fmt.Fprintf(&b, "\n%s riders, a ping every %v each, %s h a day, %s of the pings kept, points kept for %v\n\n",
		count(float64(n.cmd.Riders)), n.cmd.Interval, humanize.Ftoa(n.cmd.Hours), percent(n.figures.kept.Value), n.cmd.Retention)
	n.printSums(&b)
	b.WriteByte('\n')
	printColumns(&b, [...]int{8, 33, 33, 20}, []string{"", "gains", "costs", "needed?"})
	for _, t := range n.techniques() {
		needed := "no: "
		if t.Needed {
			needed = "yes: "
		}
		printColumns(&b, [...]int{8, 33, 33, 20}, []string{t.Name, t.Gains, t.Costs, needed + t.Why})
	}
	b.WriteString("\nRests on\n")
	for _, f := range n.figures.list() {
		if f.Value == 0 {
			continue
		}
		b.WriteString(wrap(fmt.Sprintf("%-14s %10s %s: %s", f.Name, humanize.Commaf(whole(f.Value)), f.Unit, f.Source), terminal, strings.Repeat(" ", 26)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printSums prints what each part of the way has to do.
func (n *needs) printSums(b *strings.Builder) {
	d := &n.servers
	for _, row := range [...][2]string{
		{"pings", fmt.Sprintf("%s/s in %s requests/s; %s/s come in", count(n.pings), count(n.requests), size(n.networkIn))},
		{"ingester", fmt.Sprintf("%s cores busy, the one writer for %s; filter %s of memory", decimal(n.ingestCPU), percent(n.writerBusy), size(n.riderMemory))},
		{"log", fmt.Sprintf("%s/s, %s a day; %s for an outage of %v: %s", size(n.logRate), size(n.logDay), size(n.logOutage), n.cmd.Outage, n.queueAdvice())},
		{"points", fmt.Sprintf("%s/s: %s of location, %s of the roll-up; %s writes/s, %s/s on the wire", count(n.points), count(n.located), count(n.rolled), decimal(n.writes), size(n.networkOut))},
		{"series", fmt.Sprintf("%s on a day, %s in %v", count(n.seriesDay), count(n.series), n.cmd.Retention)},
		{"InfluxDB", fmt.Sprintf("%s a day, %s in all; %s cores busy, %s of memory", size(n.influxDay), size(n.influxDisk), decimal(n.influxCPU), size(n.influxMemory))},
		{"servers", fmt.Sprintf("%s for points, %s for series, %s for disk", count(float64(d.byPoints)), count(float64(d.bySeries)), count(float64(d.byDisk)))},
	} {
		fmt.Fprintf(b, "%-8s  %s\n", row[0], row[1])
	}
}

func (n *needs) queueAdvice() string {
	if n.logFor <= n.cmd.QueueMax {
		return fmt.Sprintf("a limit of %v is enough", n.cmd.QueueMax)
	}
	return fmt.Sprintf("a limit of %v is not enough", n.cmd.QueueMax)
}

// printColumns prints one row of texts, each wrapped to its width.
func printColumns(b *strings.Builder, widths [4]int, texts []string) {
	var columns [4][]string
	height := 0
	for i, text := range texts {
		columns[i] = strings.Split(strings.TrimSuffix(wrap(text, widths[i], ""), "\n"), "\n")
		height = max(height, len(columns[i]))
	}
	for line := range height {
		var row strings.Builder
		for i, c := range columns {
			text := ""
			if line < len(c) {
				text = c[line]
			}
			row.WriteString(text + strings.Repeat(" ", widths[i]-min(widths[i], utf8.RuneCountInString(text))+2))
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
}

// wrap breaks text into lines of at most width, all but the first behind indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.SplitAfter(text, " ") {
		long := utf8.RuneCountInString(strings.TrimRight(word, " "))
		if i > 0 && used+long > width {
			b.WriteString("\n" + indent)
			used = len(indent)
		}
		b.WriteString(word)
		used += utf8.RuneCountInString(word)
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// count writes a number as people do: three digits are enough for a guess.
func count(v float64) string {
	if v < 10 {
		return humanize.Ftoa(math.Round(10*v) / 10)
	}
	if v >= 1e4 {
		digits := math.Pow(10, math.Floor(math.Log10(v))-2)
		v = math.Round(v/digits) * digits
	}
	return humanize.Comma(int64(math.Round(v)))
}

// decimal writes a small number with as much behind the point as matters.
func decimal(v float64) string {
	switch {
	case v > 0 && v < 0.005:
		return "under 0.01"
	case v >= 10:
		return count(v)
	}
	return humanize.Ftoa(math.Round(100*v) / 100)
}

func percent(share float64) string {
	switch p := 100 * share; {
	case p > 0 && p < 0.1:
		return "under 0.1 %"
	case p < 9.95:
		return fmt.Sprintf("%.1f %%", p)
	default:
		return fmt.Sprintf("%.0f %%", p)
	}
}

func size(n float64) string { return humanize.IBytes(uint64(math.Max(n, 0))) }

// roundUp writes a size as a flag takes it, a little more than asked.
func roundUp(n byteSize) string {
	const gib = 1 << 30
	return fmt.Sprintf("%dGiB", (int64(n)+gib-1)/gib)
}

// about drops what nobody asks for in a long time.
func about(d time.Duration) string {
	switch {
	case d < time.Second:
		return "under 1s"
	case d > 10*time.Hour:
		d = d.Round(time.Hour)
	case d > 10*time.Minute:
		d = d.Round(time.Minute)
	}
	return span(d).String()
}

func (n *needs) printJSON(w io.Writer) error {
	d := &n.servers
	result := struct {
		Verdict         string      `json:"verdict"`
		Advice          []string    `json:"advice"`
		Riders          int         `json:"riders"`
		Interval        float64     `json:"interval_s"`
		Kept            float64     `json:"kept"`
		Retention       float64     `json:"retention_days"`
		Outage          float64     `json:"outage_s"`
		Pings           float64     `json:"pings_per_second"`
		Requests        float64     `json:"requests_per_second"`
		Commits         float64     `json:"commits_per_second"`
		Points          float64     `json:"points_per_second"`
		Located         float64     `json:"location_points_per_second"`
		Rolled          float64     `json:"rollup_points_per_second"`
		Writes          float64     `json:"writes_per_second"`
		Series          float64     `json:"series"`
		SeriesDay       float64     `json:"series_per_day"`
		LogRate         float64     `json:"log_bytes_per_second"`
		LogDay          float64     `json:"log_bytes_per_day"`
		LogOutage       float64     `json:"log_bytes_for_outage"`
		QueueMaxBytes   int64       `json:"queue_max_bytes"`
		CatchUp         float64     `json:"catch_up_s"`
		InfluxDay       float64     `json:"influx_bytes_per_day"`
		InfluxDisk      float64     `json:"influx_bytes"`
		InfluxMemory    float64     `json:"influx_memory_bytes"`
		InfluxCores     float64     `json:"influx_cores"`
		IngestCores     float64     `json:"ingest_cores"`
		WriterBusy      float64     `json:"writer_busy"`
		RiderMemory     float64     `json:"filter_memory_bytes"`
		NetworkIn       float64     `json:"network_in_bytes_per_second"`
		NetworkOut      float64     `json:"network_out_bytes_per_second"`
		Shards          int         `json:"shards"`
		ShardsForPoints int         `json:"shards_for_points"`
		ShardsForSeries int         `json:"shards_for_series"`
		ShardsForDisk   int         `json:"shards_for_disk"`
		ServerPoints    float64     `json:"server_points_per_second"`
		Ingesters       int         `json:"ingesters"`
		Techniques      []technique `json:"techniques"`
		Assumptions     []figure    `json:"assumptions"`
	}{
		n.verdict(), append([]string{}, n.advice()...),
		n.cmd.Riders, n.cmd.Interval.Seconds(), n.figures.kept.Value, n.cmd.Retention.days(), time.Duration(n.cmd.Outage).Seconds(),
		whole(n.pings), whole(n.requests), whole(n.commits), whole(n.points), whole(n.located), whole(n.rolled), whole(n.writes),
		whole(n.series), whole(n.seriesDay),
		whole(n.logRate), whole(n.logDay), whole(n.logOutage), int64(n.logFor), n.catchUp.Seconds(),
		whole(n.influxDay), whole(n.influxDisk), whole(n.influxMemory), whole(n.influxCPU), whole(n.ingestCPU), whole(n.writerBusy),
		whole(n.riderMemory), whole(n.networkIn), whole(n.networkOut),
		d.shards, d.byPoints, d.bySeries, d.byDisk, whole(d.each), n.ingesters,
		n.techniques(), n.figures.list(),
	}
	line, err := json.Marshal(result)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", line)
	return err
}

// whole leaves of a number what is worth telling: to the unit, or three digits
// of a small one.
func whole(v float64) float64 {
	if math.Abs(v) >= 100 {
		return math.Round(v)
	}
	return math.Round(v*1000) / 1000
}
