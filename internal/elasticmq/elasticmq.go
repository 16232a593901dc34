// Package elasticmq runs ElasticMQ, a server that speaks as Amazon SQS does, for tests.
//
// Its queues are those named at the start: one that is made later is gone after a kill. A
// message that it has answered for is on the disk. It asks nobody for credentials.
package elasticmq

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/internal/jvm"
)

// Server is an ElasticMQ. It can be killed, frozen, thawed and restarted.
type Server struct {
	*jvm.Process
	Addr string // host:port
}

// Start runs an ElasticMQ for as long as t, and gives the test credentials and a region. A
// queue is its name and settings in HOCON, such as
//
//	pings { deadLettersQueue { name = "dead", maxReceiveCount = 3 } }
//	"pings.fifo" { fifo = true }
func Start(t testing.TB, queues ...string) *Server {
	t.Helper()
	jvm.Need(t, "elasticmq")
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test-of-elasticmq", "AWS_EC2_METADATA_DISABLED": "true"} {
		if set, ok := t.(interface{ Setenv(key, value string) }); ok {
			set.Setenv(name, value)
		}
	}
	addr, dir := free(t), t.TempDir()
	_, port, _ := strings.Cut(addr, ":")
	conf := filepath.Join(dir, "elasticmq.conf")
	text := fmt.Sprintf(`include classpath("application.conf")
node-address { protocol = http, host = "127.0.0.1", port = %[1]s, context-path = "" }
rest-sqs { enabled = true, bind-port = %[1]s, bind-hostname = "127.0.0.1", sqs-limits = strict }
rest-stats { enabled = false }
queues {
%[3]s
}
messages-storage { enabled = true, uri = "jdbc:h2:%[2]s/messages;WRITE_DELAY=0" }
`, port, dir, strings.Join(queues, "\n"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	p := jvm.Start(t, jvm.Java{
		Jars: "elasticmq", Main: "org.elasticmq.server.Main",
		JVM: []string{"-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dconfig.file=" + conf},
		Ready: func() error {
			resp, err := client.Get("http://" + addr)
			if err == nil {
				_ = resp.Body.Close()
			}
			return err
		},
	})
	return &Server{Process: p, Addr: addr}
}

// URL returns the URL of a queue, as --shard and --sqs-in take it.
func (s *Server) URL(queue string) string { return "sqs+http://" + s.Addr + "/" + queue }

func free(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}
