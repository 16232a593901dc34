package ops

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
)

// Who asks for / learns what else there is, and each of it answers.
func TestIndexOfTheOpsListener(t *testing.T) {
	s, err := Listen("127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") }), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	get := func(path string) (status int, body string) {
		resp, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	status, body := get("/")
	paths := regexp.MustCompile(`(?m)^/\S+`).FindAllString(body, -1)
	if status != http.StatusOK || len(paths) != 2 {
		t.Errorf("/ answers %d: %s", status, body)
	}
	for _, path := range paths {
		if status, _ := get(path); status != http.StatusOK {
			t.Errorf("%s answers %d", path, status)
		}
	}
	if status, _ := get("/nothing"); status != http.StatusNotFound {
		t.Errorf("/nothing answers %d", status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A route for administrators answers this machine alone, and no web page whose name leads
// here.
func TestAdminRoutesAreForThisMachine(t *testing.T) {
	for _, tt := range []struct {
		name, listen, host string
		status             int
	}{
		{"by address", "127.0.0.1:0", "127.0.0.1:9090", http.StatusOK},
		{"by name", "127.0.0.1:0", "localhost:9090", http.StatusOK},
		{"by the name of a page", "127.0.0.1:0", "example.org:9090", http.StatusForbidden},
		{"without a port", "127.0.0.1:0", "127.0.0.1", http.StatusForbidden},
		{"open to others", "0.0.0.0:0", "127.0.0.1:9090", http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			route := AdminRoute{Pattern: "DELETE /v1/riders/{id}", Handler: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.PathValue("id")) }}
			s, err := Listen(tt.listen, http.NotFoundHandler(), nil, nil, route)
			if err != nil {
				t.Fatal(err)
			}
			defer s.ln.Close()
			req := httptest.NewRequest(http.MethodDelete, "/v1/riders/ana%2Fbo", nil)
			req.Host = tt.host
			got := httptest.NewRecorder()
			s.srv.Handler.ServeHTTP(got, req)
			if got.Code != tt.status || (got.Code == http.StatusOK) != (got.Body.String() == "ana/bo") {
				t.Errorf("%d %s, want %d", got.Code, got.Body, tt.status)
			}
		})
	}
}
