package influxd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// parentDir, set in the environment, makes the test binary a parent: it starts
// a server in that directory, prints its address and waits to be killed.
const parentDir = "INFLUXD_TEST_PARENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentDir); dir != "" {
		s, err := Start(context.Background(), Config{Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.addr())
		select {}
	}
	os.Exit(m.Run())
}

func TestServerDiesWithItsParent(t *testing.T) {
	self, dir := RunTest(t), t.TempDir()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), parentDir+"="+dir, "PINGLINE_INFLUXD="+self.cfg.Binary)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(line)
	if !listens(addr) {
		t.Fatalf("nothing listens on %q", addr)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	eventually(t, "the child is gone", func() bool { return !listens(addr) })
}

func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// The kernel takes the end of the thread that started a child for the end of
// its parent.
func TestServerOutlivesTheThreadThatStartedIt(t *testing.T) {
	var s *Server
	task := fmt.Sprintf("/proc/self/task/%d", onDyingThread(func() { s = RunTest(t) }))
	eventually(t, "the thread is gone", func() bool {
		_, err := os.Stat(task)
		return os.IsNotExist(err)
	})
	write(t, s, "1", "1")
}

// onDyingThread runs f on a thread that ends after it, and returns its ID.
func onDyingThread(f func()) int {
	thread := make(chan int)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		if id := syscall.Gettid(); id != os.Getpid() {
			f()
			thread <- id
			return
		}
		thread <- onDyingThread(f) // this is the first thread, which never ends
	}()
	return <-thread
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(startLimit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, startLimit)
		}
	}
}
