//go:build !unix

package logtool

// checkOwner finds out nothing where files have no owner.
func checkOwner(_, _ string) error { return nil }
