// Package simulate is the commands that send the pings of a simulated city, or of
// recorded tracks, to any ingester, and say how it answered.
//
// A command promises that what it sends depends on its flags and the time alone, and
// that each ping is accounted for: answered, refused or without an answer.
package simulate

// Commands are those of pingline sim.
type Commands struct {
	Run    RunCmd    `cmd:"" help:"Send the pings of a city at a set rate, and say how they were answered and how soon."`
	Replay ReplayCmd `cmd:"" help:"Send recorded tracks as if they were ridden now, faster and by more riders if asked."`
	Audit  AuditCmd  `cmd:"" help:"Hold the answers to a run, from its ack log, against what is stored."`
}
