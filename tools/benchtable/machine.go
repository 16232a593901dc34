package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// machine is where it was measured, and when.
type machine struct {
	At         time.Time `json:"at"`
	CPU        string    `json:"cpu"`
	Cores      int       `json:"cores"`
	Kernel     string    `json:"kernel"`
	Go         string    `json:"go"`
	Version    string    `json:"version"`  // of pingline
	Sync       float64   `json:"fsync_ms"` // median, of 64 KiB appended to a file
	LoadBefore string    `json:"load_before"`
	LoadAfter  string    `json:"load_after"`
}

// lookAround describes this machine, and the disk of a directory.
func lookAround(dir string) machine {
	m := machine{At: time.Now().UTC(), CPU: "an unknown CPU", Cores: runtime.NumCPU(), Go: runtime.Version(), LoadBefore: loadAverage(), Sync: syncTime(dir)}
	text, _ := os.ReadFile("/proc/cpuinfo") // without it the CPU is unknown
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	text, _ = os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(text))
	return m
}

// loadAverage returns how many threads wanted to run in the last minute.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg") // without it the load is unknown
	load, _, _ := strings.Cut(string(text), " ")
	return load
}

// syncTime returns the median time in ms of appending 64 KiB durably.
func syncTime(dir string) float64 {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	var took []time.Duration
	for range 101 {
		began := time.Now()
		if _, err := f.Write(make([]byte, 64<<10)); err != nil || f.Sync() != nil {
			return 0
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return ms(took[len(took)/2])
}

func (m *machine) markdown() string {
	return fmt.Sprintf("%s, pingline %s, %d × %s, Linux %s, %s; 64 KiB synced in %s ms (median); load average %s before and %s after.",
		m.At.Format("2006-01-02"), m.Version, m.Cores, m.CPU, m.Kernel, m.Go, digits(m.Sync), m.LoadBefore, m.LoadAfter)
}
