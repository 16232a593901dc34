//go:build race

package main

// underRace: the race detector needs many times the memory.
const underRace = true
