// Package postgrestest runs real PostgreSQL servers as child processes, for tests.
package postgrestest
