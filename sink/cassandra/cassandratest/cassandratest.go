// Package cassandratest runs a real Cassandra as a child process, for tests.
//
// A Server listens on 127.0.0.1 only, asks for a password, and refuses values of more than
// 1 KiB to all but superusers. It can be killed, frozen, thawed and restarted on the same data
// and the same port.
package cassandratest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline/internal/influxd"
	"pingline/internal/jvm"
)

// User may do everything and is no superuser. Reader may only read.
const (
	User     = "pingline"
	Reader   = "reader"
	Password = "a-password-of-tests"
)

// Server is a Cassandra of a single node and its data.
type Server struct {
	*jvm.Process
	Port int // of CQL
	dir  string
}

// Shared runs one Server for all tests of a binary, from the first that needs it until
// TestMain calls stop. Start is given a test, which is skipped where there are no jars.
func Shared() (start func(testing.TB) *Server, stop func()) {
	all := &afterAll{}
	var running *Server
	start = func(t testing.TB) *Server {
		t.Helper()
		if running == nil {
			all.TB = t
			running = Run(all)
		}
		return running
	}
	return start, all.end
}

// afterAll is a test whose clean-up comes at the end of the binary.
type afterAll struct {
	testing.TB
	undo []func()
}

func (a *afterAll) Cleanup(f func()) { a.undo = append(a.undo, f) }

func (a *afterAll) TempDir() string {
	dir, err := os.MkdirTemp("", "cassandra-")
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (a *afterAll) end() {
	for i := len(a.undo) - 1; i >= 0; i-- {
		a.undo[i]()
	}
}

// Run runs a Server for as long as t, with the two roles. Lines of settings, such as
// "commitlog_sync: batch", take the place of those of its cassandra.yaml.
func Run(t testing.TB, settings ...string) *Server {
	t.Helper()
	jvm.Need(t, "cassandra")
	s := &Server{dir: t.TempDir()}
	var ports [2]int
	for i := range ports {
		var err error
		if ports[i], err = influxd.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	s.Port = ports[0]
	if err := s.configure(ports[1], settings); err != nil {
		t.Fatal(err)
	}
	s.Process = jvm.Start(t, jvm.Java{
		Jars: "cassandra", First: []string{filepath.Join(s.dir, "conf")}, JVM: s.jvm(), Main: "org.apache.cassandra.service.CassandraDaemon", Dir: s.dir,
		Ready: s.answers,
	})
	for _, role := range []string{User, Reader} {
		s.Exec(t, fmt.Sprintf("CREATE ROLE IF NOT EXISTS %s WITH PASSWORD = '%s' AND LOGIN = true", role, Password))
	}
	s.Exec(t, "GRANT ALL ON ALL KEYSPACES TO "+User)
	s.Exec(t, "GRANT SELECT ON ALL KEYSPACES TO "+Reader)
	return s
}

const yaml = `cluster_name: pingline-test
num_tokens: 1
allocate_tokens_for_local_replication_factor: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{seeds: "127.0.0.1:%[3]d"}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: %[3]d
native_transport_port: %[2]d
start_native_transport: true
authenticator: PasswordAuthenticator
authorizer: CassandraAuthorizer
commitlog_sync: batch
endpoint_snitch: SimpleSnitch
data_file_directories: [%[1]s/data/data]
commitlog_directory: %[1]s/data/commitlog
saved_caches_directory: %[1]s/data/saved_caches
hints_directory: %[1]s/data/hints
cdc_raw_directory: %[1]s/data/cdc_raw
commitlog_total_space: 128MiB
commitlog_segment_size: 8MiB
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
memtable_allocation_type: heap_buffers
file_cache_size: 32MiB
networking_cache_size: 16MiB
key_cache_size: 4MiB
row_cache_size: 0MiB
counter_cache_size: 0MiB
concurrent_reads: 8
concurrent_writes: 8
concurrent_compactors: 1
native_transport_max_threads: 16
auto_snapshot: false
column_value_size_fail_threshold: 1900B
client_encryption_options:
  enabled: true
  optional: true
  keystore: %[1]s/server.pem
  ssl_context_factory:
    class_name: org.apache.cassandra.security.PEMBasedSslContextFactory
write_request_timeout: 300s
read_request_timeout: 300s
range_request_timeout: 300s
request_timeout: 300s
native_transport_timeout: 300s
materialized_views_enabled: false
`

const logback = `<configuration><appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%-5level %date{HH:mm:ss,SSS} %logger{0} - %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="STDOUT"/></root></configuration>
`

func (s *Server) configure(storage int, settings []string) error {
	conf := filepath.Join(s.dir, "conf")
	if err := errors.Join(os.Mkdir(conf, 0o700), os.Mkdir(filepath.Join(s.dir, "data"), 0o700)); err != nil {
		return err
	}
	text := fmt.Sprintf(yaml, s.dir, s.Port, storage)
	for _, line := range settings {
		key, _, _ := strings.Cut(line, ":")
		before, at, found := strings.Cut(text, "\n"+key+":")
		if found {
			_, at, _ = strings.Cut(at, "\n")
		}
		text = before + "\n" + line + "\n" + at
	}
	certificate, key, err := selfSigned()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(s.CAFile(), certificate, 0o600),
		os.WriteFile(filepath.Join(s.dir, "server.pem"), append(key, certificate...), 0o600),
		os.WriteFile(filepath.Join(conf, "cassandra.yaml"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(conf, "logback.xml"), []byte(logback), 0o600),
		os.WriteFile(s.PasswordFile(), []byte(Password+"\n"), 0o600))
}

// jvm returns the arguments that Cassandra 5.0 needs of Java 17, and those that make it small
// and quick to start.
func (s *Server) jvm() []string {
	args := strings.Fields("-Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxDirectMemorySize=128m " +
		"-Djdk.attach.allowAttachSelf=true -Djava.net.preferIPv4Stack=true -Dio.netty.tryReflectionSetAccessible=true " +
		"-Dcassandra-foreground=yes -Dcassandra.ring_delay_ms=100 -Dcassandra.skip_wait_for_gossip_to_settle=0 " +
		"-Dcassandra.superuser_setup_delay_ms=100 -Dcassandra.jmx.local.port=0")
	for _, of := range strings.Fields("java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.management.rmi/com.sun.jmx.remote.internal.rmi " +
		"java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql java.base/java.lang.ref java.base/java.lang.reflect jdk.unsupported/sun.misc") {
		args = append(args, "--add-exports", of+"=ALL-UNNAMED")
	}
	for _, of := range strings.Fields("java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect " +
		"java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar jdk.management/com.sun.management.internal " +
		"java.base/sun.nio.ch java.base/java.io java.base/java.lang java.base/java.lang.reflect java.base/java.util java.base/java.util.concurrent " +
		"java.base/java.util.concurrent.atomic java.base/java.nio java.rmi/sun.rmi.transport.tcp") {
		args = append(args, "--add-opens", of+"=ALL-UNNAMED")
	}
	return append(args, "-Dcassandra.config=file://"+s.dir+"/conf/cassandra.yaml", "-Dlogback.configurationFile=file://"+s.dir+"/conf/logback.xml",
		"-Dcassandra.storagedir="+s.dir+"/data", "-Djava.io.tmpdir="+s.dir+"/data")
}

// PasswordFile has the password of both roles.
func (s *Server) PasswordFile() string { return filepath.Join(s.dir, "password") }

// CAFile has the certificate that the server shows to clients that speak TLS. It takes others,
// too.
func (s *Server) CAFile() string { return filepath.Join(s.dir, "ca.pem") }

// selfSigned returns a certificate for 127.0.0.1, and its key.
func selfSigned() (certificate, key []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cassandratest"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, of, of, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}), err
}

// URL returns the address of a keyspace, as Pingline takes it.
func (s *Server) URL(keyspace string) string {
	return fmt.Sprintf("cassandra://%s@127.0.0.1:%d/%s", User, s.Port, keyspace)
}

// Session connects as the superuser.
func (s *Server) Session() (*gocql.Session, error) {
	c := gocql.NewCluster(fmt.Sprintf("127.0.0.1:%d", s.Port))
	c.ProtoVersion, c.NumConns, c.Consistency = 4, 1, gocql.One
	c.Timeout, c.ConnectTimeout = jvm.Patience, jvm.Patience
	c.Authenticator = gocql.PasswordAuthenticator{Username: "cassandra", Password: "cassandra"}
	c.Logger = quiet{}
	return c.CreateSession()
}

type quiet struct{}

func (quiet) Error(string, ...gocql.LogField)   {}
func (quiet) Warning(string, ...gocql.LogField) {}
func (quiet) Info(string, ...gocql.LogField)    {}
func (quiet) Debug(string, ...gocql.LogField)   {}

func (s *Server) answers() error {
	session, err := s.Session()
	if err == nil {
		session.Close()
	}
	return err
}

// Try runs a statement as the superuser.
func (s *Server) Try(statement string) error {
	session, err := s.Session()
	if err != nil {
		return err
	}
	defer session.Close()
	if err := session.Query(statement).ExecContext(context.Background()); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// Exec is Try in a test, which fails if the statement does.
func (s *Server) Exec(t testing.TB, statement string) {
	t.Helper()
	if err := s.Try(statement); err != nil {
		t.Fatal(err)
	}
}

// Count returns the number of rows that a query selects.
func (s *Server) Count(query string) (n int, err error) {
	session, err := s.Session()
	if err != nil {
		return 0, err
	}
	defer session.Close()
	rows := session.Query(query).Iter().Scanner()
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

// Row returns the only row that a query selects.
func (s *Server) Row(query string) (map[string]any, error) {
	session, err := s.Session()
	if err != nil {
		return nil, err
	}
	defer session.Close()
	row := make(map[string]any)
	return row, session.Query(query).MapScan(row)
}
