package main

import (
	"fmt"
	"syscall"
	"testing"

	"pingline/partition"
	"pingline/sink/moving"
)

// The node that moves history is suspended with rows in hand, loses its part, and goes on after riders of the
// other node were removed: it writes none of their pings.
func TestReshardSuspendedMover(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes with NATS servers and InfluxDBs take seconds")
	}
	beside(t)
	n, c, servers, _ := resharded(t, 30, 15)
	owners := n.ownersOf("n1", "n2", "n3")
	gone := make(map[string]bool)
	for i := range c.riders {
		if rider := fmt.Sprint("r-", i); partition.Part(rider, 2) == 1 {
			gone[rider] = true
		}
	}
	n.mustReshard(owners[1], "start", "--add=name=c,url="+servers["c"].URL(), "--remove=a", "--history=move", "--rate=100")
	eventually(t, "history is copied", func() bool { h := n.standing(owners[1]).History; return h != nil && h.UnitsDone > 0 })
	suspended := n.running[owners[0]]
	suspended.suspend()
	eventually(t, "another node has part 0", func() bool {
		s := n.standing(owners[1])
		return s.Parts[0].Node != "" && s.Parts[0].Node != owners[0] && s.Parts[0].Phase != ""
	})
	for rider := range gone {
		n.remove(owners[1], rider)
	}
	in := func() []string { return storedOf(t, servers, gone) }
	eventually(t, "the riders are removed", func() bool { return len(in()) == 0 })
	if err := suspended.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	<-suspended.exited // it has lost its log
	eventually(t, "history is moved", func() bool { return n.standing(owners[1]).History.Stage == moving.Moved })
	if left := in(); len(left) > 0 {
		t.Fatalf("the suspended node brought %d pings back: %v", len(left), left[0])
	}
}
