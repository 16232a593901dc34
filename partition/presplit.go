package partition

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Limits of a list of hot cells.
const (
	defaultSplits = 64     // sub-keys of a cell listed without a number
	mostHotCells  = 10_000 // 20 MiB of sub-keys
)

// ParseHotCells reads the cells to split beforehand, for an event known to come: on
// each line a cell of resolution res and, optionally, its number of sub-keys (a power
// of two up to MaxSplits; 64 if none is given), such as
//
//	8539220ffffffff 256  # the stadium
//
// Blank lines are ignored, and so is the rest of a line from a # on. An error names
// the line.
func ParseHotCells(r io.Reader, res int) (map[uint64]int, error) {
	cells := make(map[uint64]int)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		cell, splits, err := parseHotCell(fields, res)
		switch _, twice := cells[cell]; {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case twice:
			return nil, fmt.Errorf("line %d: cell %x is listed twice", n, cell)
		case len(cells) == mostHotCells:
			return nil, fmt.Errorf("line %d: more than %d cells", n, mostHotCells)
		}
		cells[cell] = splits
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read hot cells: %w", err)
	}
	return cells, nil
}

func parseHotCell(fields []string, res int) (cell uint64, splits int, err error) {
	if len(fields) > 2 {
		return 0, 0, fmt.Errorf("%q follows the number of splits", fields[2])
	}
	if cell, err = ParseCell(fields[0]); err != nil {
		return 0, 0, err
	}
	if Res(cell) != res {
		return 0, 0, fmt.Errorf("cell %x is of resolution %d, not %d", cell, Res(cell), res)
	}
	if len(fields) == 1 {
		return cell, defaultSplits, nil
	}
	if splits, err = strconv.Atoi(fields[1]); err != nil {
		return 0, 0, fmt.Errorf("%q is not a number of splits", fields[1])
	}
	return cell, splits, checkSplits(splits)
}

// OpenHotCells is ParseHotCells of a file; "" is none.
func OpenHotCells(path string, res int) (map[uint64]int, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	splits, err := ParseHotCells(file, res)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return splits, nil
}
