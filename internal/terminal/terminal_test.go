package terminal

import (
	"os"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	if Answers(nil) || Answers(strings.NewReader("y")) || Answers(read) {
		t.Error("a pipe is a terminal")
	}
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	defer f.Close()
	if !Answers(f) {
		t.Error("a terminal is none")
	}
}
