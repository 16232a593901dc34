//go:build race

package main

// underRace: the race detector needs many times the memory.
const underRace = true

// fewer divides how many pings tests send: the race detector makes process and
// load that many times slower.
const fewer = 4
