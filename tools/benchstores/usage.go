package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// worked returns the CPU time of all processes that this process has started, directly or
// not, and that have ended or still run, s.
func worked() (sum float64, err error) {
	if sum, err = rusage(syscall.RUSAGE_CHILDREN); err != nil {
		return 0, err
	}
	for _, pid := range descendants() {
		f := statOf(pid)
		if len(f) < 15 {
			continue // it has ended, and counts as such
		}
		for _, ticks := range f[11:15] { // utime, stime, and both of its own children that have ended
			n, err := strconv.ParseFloat(ticks, 64)
			if err != nil {
				return 0, fmt.Errorf("stat of process %d: %w", pid, err)
			}
			sum += n / 100 // USER_HZ is 100 on every Linux that Go runs on
		}
	}
	return sum, nil
}

// rusage returns the CPU time of this process, or of those below it that have ended, s.
func rusage(of int) (float64, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(of, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds(), err
}

// resident returns the memory of the processes that this process has started, bytes. A page
// that several of them share counts once.
func resident() (sum int64) {
	for _, pid := range descendants() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		for line := range bytes.Lines(text) {
			if f := strings.Fields(string(line)); len(f) == 3 && f[0] == "Pss:" {
				kib, _ := strconv.ParseInt(f[1], 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}

// descendants returns the processes below this one.
func descendants() (all []int) {
	of := make(map[int][]int)
	list, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range list {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if f := statOf(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			of[parent] = append(of[parent], pid)
		}
	}
	all = slices.Clone(of[os.Getpid()])
	for i := 0; i < len(all); i++ {
		all = append(all, of[all[i]]...)
	}
	return all
}

// statOf returns the fields of /proc/PID/stat behind the name of the program.
func statOf(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}

// allocated returns the bytes of the disk that files below dirs occupy: not the holes of a
// file, and a file with several names once.
func allocated(dirs ...string) (sum int64, err error) {
	seen := make(map[uint64]bool)
	for _, dir := range dirs {
		err = errors.Join(err, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // a server works there
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
				seen[st.Ino] = true
				sum += st.Blocks * 512
			}
			return nil
		}))
	}
	return sum, err
}
