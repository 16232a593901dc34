package visitors_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"pingline/dashboards/phone"
	"pingline/internal/node"
	"pingline/internal/visitors"
)

// awhile is longer than any busy machine needs.
const awhile = 4 * time.Minute

// A visitor scans the code, goes on past the browser's warning of the certificate, presses Start, and
// is on the map's server under a name of their own. That is all without a worker, which browsers do not
// run from such an address.
func TestVisitorGoesOnPastTheWarning(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes a while")
	}
	if !phone.Built() {
		t.Skip("no bundle of the page for phones: make phone builds it")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is here")
	}
	cfg := node.DefaultConfig()
	cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n-1", "127.0.0.1:0", "", t.TempDir(), "http://127.0.0.1:1"
	cfg.Logger = slog.New(slog.DiscardHandler)
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := visitors.Open(visitors.Config{Listen: "127.0.0.1:0", To: n.URL()})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- n.Run(running) }()
	go func() { ended <- v.Run(running) }()
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	var said strings.Builder
	v.Print(&said)
	_, link, _ := strings.Cut(said.String(), "https://HOST")
	link, _, _ = strings.Cut(link, "\n")

	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, awhile)
	t.Cleanup(cancel)
	lat, lon, accuracy := 41.15, -8.61, 5.0
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 844), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: "geolocation"}, Setting: browser.PermissionSettingGranted}); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, emulation.SetGeolocationOverride, emulation.SetGeolocationOverrideParams{Latitude: &lat, Longitude: &lon, Accuracy: &accuracy})
		return err
	})); err != nil {
		t.Fatal(err)
	}
	at := "https://127.0.0.1" + link
	if err := chromedp.Do(ctx, chromedp.Navigate(at)); err == nil || !strings.Contains(err.Error(), "ERR_CERT_AUTHORITY_INVALID") {
		t.Fatalf("the browser does not warn: %v", err)
	}
	until := func(expression string) {
		t.Helper()
		for {
			got, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
			if err != nil && ctx.Err() != nil {
				text, _ := chromedp.Run(context.WithoutCancel(ctx), chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText"))
				t.Fatalf("in vain waited until %s: %v; the page says %s", expression, err, text)
			}
			if err == nil && got {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	until("document.querySelector('#proceed-link')")
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[any]("document.querySelector('#details-button').click(); document.querySelector('#proceed-link').click()")); err != nil {
		t.Log(err) // the page may be gone before it answers
	}
	until("window.pingline && isSecureContext && location.hash === ''")
	if err := chromedp.Do(ctx, chromedp.Click("button.main")); err != nil {
		t.Fatal(err)
	}
	until("pingline.sender.status.acknowledged && document.querySelector('.line h2').textContent === 'Sending'")
	rider, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.querySelector('.who strong').textContent"))
	if err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("PINGLINE_TEST_PICTURES"); dir != "" {
		if shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
			_ = os.WriteFile(filepath.Join(dir, "visitor.png"), shot, 0o644)
		}
	}
	r, err := http.Get(n.URL() + "/v1/riders/" + rider)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var newest struct{ Pings []struct{ Lat, Lon float64 } }
	if err := json.Unmarshal(text, &newest); err != nil || len(newest.Pings) != 1 || newest.Pings[0].Lat != lat || !strings.HasPrefix(rider, "guest-") {
		t.Errorf("%s is at %s", rider, text)
	}
	worker, err := chromedp.Run(ctx, chromedp.Evaluate[int]("navigator.serviceWorker.getRegistrations().then((all) => all.length)", chromedp.EvalAwaitPromise))
	t.Logf("%d workers, %v", worker, err)
}
