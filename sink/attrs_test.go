package sink

import (
	"context"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// bareStore keeps nothing, and no attributes if it says why.
type bareStore struct{ why string }

func (bareStore) AppendRow(dst []byte, _ *pingline.Entry) []byte { return append(dst, '.') }

func (bareStore) Write(context.Context, store.Rows) error { return nil }

func (bareStore) Close() error { return nil }

func (s bareStore) DropsAttrs() string { return s.why }

// A store that keeps no attributes loses them, and an operator is told of how many pings.
func TestAttributesThatAreDropped(t *testing.T) {
	list := append(storetest.Dressed(t, 50), fleet(7, 20)...)
	want := uint64(0)
	for i := range list {
		if list[i].Attrs != "" {
			want++
		}
	}
	for _, why := range []string{"", "there is no column: add one"} {
		w := testLog(t)
		w.commit(list...)
		s := testSink(t, w, bareStore{why}, nil)
		stop := start(t, s)
		eventually(t, "all is written", func() bool { return s.Account().Pings.Written == uint64(len(list)) })
		notes, bare := strings.Join(s.Notes(), "\n"), s.Stats()[0].Bare
		if told := strings.Contains(notes, "written without attributes: "+why); why != "" && (!told || bare != want) || why == "" && (told || bare != 0) {
			t.Errorf("of %d pings with attributes %d are bare, because of %q: %q", want, bare, why, notes)
		}
		stop()
	}
}

// losingStore keeps nothing, and says that it leaves out attributes of some pings.
type losingStore struct{ bareStore }

func (losingStore) AttrsLost() (pings uint64, why string) { return 3, "a field is of another type" }

// A store that leaves out attributes of another type counts its pings with the others.
func TestAttributesOfAnotherType(t *testing.T) {
	s := testSink(t, testLog(t), losingStore{}, nil)
	if notes, n := strings.Join(s.Notes(), "\n"), s.Stats()[0].Bare; n != 3 || !strings.HasSuffix(notes, "3 pings were written without attributes: a field is of another type") {
		t.Errorf("%d: %q", n, notes)
	}
}
