//go:build !race

package main

const (
	underRace = false
	fewer     = 1
)
