package sink

import (
	"context"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// bareStore keeps nothing, and no attributes if it says so.
type bareStore struct{ drops bool }

func (bareStore) AppendRow(dst []byte, _ *pingline.Entry) []byte { return append(dst, '.') }

func (bareStore) Write(context.Context, store.Rows) error { return nil }

func (bareStore) Close() error { return nil }

func (s bareStore) DropsAttrs() bool { return s.drops }

// A store that keeps no attributes loses them, and an operator is told of how many pings.
func TestAttributesThatAreDropped(t *testing.T) {
	list := append(storetest.Dressed(t, 50), fleet(7, 20)...)
	want := uint64(0)
	for i := range list {
		if list[i].Attrs != "" {
			want++
		}
	}
	for _, drops := range []bool{true, false} {
		w := testLog(t)
		w.commit(list...)
		s := testSink(t, w, bareStore{drops}, nil)
		stop := start(t, s)
		eventually(t, "all is written", func() bool { return s.Account().Pings.Written == uint64(len(list)) })
		notes, bare := strings.Join(s.Notes(), "\n"), s.Stats()[0].Bare
		if told := strings.Contains(notes, "keeps no attributes"); told != drops || drops && bare != want || !drops && bare != 0 {
			t.Errorf("of %d pings with attributes %d are bare, dropped: %v: %q", want, bare, drops, notes)
		}
		stop()
	}
}
