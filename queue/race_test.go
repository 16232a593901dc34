//go:build race

package queue

// underRace: the race detector needs many times the memory.
const underRace = true
