package livemap_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pingline/ingest/auth"
	"pingline/internal/node"
)

// Where keys are needed the page asks for one, shows it once, and asks anew when it was
// revoked. No script can read it, and no address has it.
func TestKeyOfThePage(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "keys")
	desk, deskHash := auth.NewSecret()
	ana, anaHash := auth.NewSecret()
	change := func(f func([]auth.KeyRow) []auth.KeyRow) {
		t.Helper()
		if err := auth.ChangeKeys(keys, func(rows []auth.KeyRow) ([]auth.KeyRow, error) { return f(rows), nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(func([]auth.KeyRow) []auth.KeyRow {
		return []auth.KeyRow{
			{Name: "desk", Hash: deskHash, Scopes: []string{"read", "write"}, Riders: []string{"*"}},
			{Name: "ana", Hash: anaHash, Scopes: []string{"read"}, Riders: []string{"ana"}},
		}
	})
	s := newStack(t, func(cfg *node.Config) { cfg.Access.Ways, cfg.Access.Keys = []string{"keys"}, keys })
	r, err := http.NewRequest(http.MethodPost, s.url()+"/v1/pings", strings.NewReader(fmt.Sprintf(`{"rider_id":"r-1","ts":%d,"lat":47,"lon":8}`, time.Now().UnixMilli())))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+desk)
	if a, err := http.DefaultClient.Do(r); err != nil || a.StatusCode != http.StatusOK {
		t.Fatal(a, err)
	}
	p := open(t, s.url()+"/#map=9/47/8", 1280, 800, "dark")
	p.until("the page asks for a key", "document.activeElement?.id === 'key'")
	p.accessible("asked for a key")
	p.picture("key")
	p.silent()
	p.expectAbsence(true) // what is refused is in the console
	enter := func(key string) {
		t.Helper()
		eval[any](p, "document.querySelector('#key').value = ''")
		p.do(chromedp.SendKeys("#key", key+"\r"))
	}
	for _, wrong := range []struct{ key, says string }{
		{"pl_wrong", "the key is not known"},
		{ana, "this key is for some riders only"},
		{"schlüssel", "without spaces"},
	} {
		enter(wrong.key)
		p.until("the page says why not", fmt.Sprintf("document.querySelector('.problem').textContent.includes(%q)", wrong.says))
	}
	p.accessible("a wrong key")
	enter(desk)
	p.until("the map shows the rider", "window.pingline && pingline.link.state === 'live' && pingline.riders === 1 && pingline.idle")
	if at := eval[string](p, "location.href"); strings.Contains(at, desk) || !strings.Contains(at, "map=9") {
		t.Errorf("the address is %s", at)
	}
	if kept := eval[string](p, "document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.documentElement.outerHTML"); strings.Contains(kept, "pl_") || strings.Contains(kept, "__Host") {
		t.Errorf("scripts can read the key or the session: %s", kept)
	}
	p.do(chromedp.Reload())
	p.until("the map is there again without a question", "window.pingline && pingline.link.state === 'live' && pingline.riders === 1 && !document.querySelector('.login')")
	change(func(rows []auth.KeyRow) []auth.KeyRow {
		rows[0].Revoked = time.Now()
		return rows
	})
	p.until("the page asks anew", "document.querySelector('dialog.locked[open] #key')")
	p.accessible("locked out")
	p.picture("locked")
	desk, deskHash = auth.NewSecret()
	change(func(rows []auth.KeyRow) []auth.KeyRow {
		return append(rows, auth.KeyRow{Name: "desk-2", Hash: deskHash, Scopes: []string{"read"}, Riders: []string{"*"}})
	})
	p.until("the next key is taken", fmt.Sprintf("fetch('v1/status', {headers: {Authorization: 'Bearer %s'}}).then((r) => r.ok)", desk))
	enter(desk)
	p.until("the page begins again, at the same place", "window.pingline && pingline.link.state === 'live' && !document.querySelector('.login') && location.hash.includes('map=9')")
	p.do(chromedp.Click(`button[aria-label="Leave, and forget the key desk-2"]`))
	p.until("the key is forgotten", "!window.pingline && document.querySelector('#key')")
}
