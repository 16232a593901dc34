// Package redistest runs real Redis servers as child processes, for tests.
package redistest
