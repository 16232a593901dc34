//go:build !linux

package slab

func wantHuge[T any]([]T) {}
