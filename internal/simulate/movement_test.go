package simulate

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const village = "../../sim/roads/testdata/village.osm"

// sentIn returns the positions that a run sends.
func sentIn(t *testing.T, args ...string) (lats, lons []float64) {
	t.Helper()
	var mu sync.Mutex
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var pings []struct{ Lat, Lon float64 }
		if err := json.NewDecoder(r.Body).Decode(&pings); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, p := range pings {
			lats, lons = append(lats, p.Lat), append(lons, p.Lon)
		}
		fmt.Fprintf(w, `{"accepted":%d}`, len(pings))
	}))
	defer s.Close()
	if _, err := run(t.Context(), append([]string{"run", "--target", s.URL, "--for=1s", "--rate=200", "--riders=50", "--json"}, args...)...); err != nil {
		t.Fatal(err)
	}
	return lats, lons
}

func TestRunDrivesOnRoads(t *testing.T) {
	t.Parallel()
	lats, lons := sentIn(t, "--roads", village, "--mix=car=2,courier=1,walk=1,bus=1", "--cover")
	if len(lats) < 150 {
		t.Fatalf("%d pings came", len(lats))
	}
	for i := range lats {
		if lats[i] < 12.49 || lats[i] > 12.52 || lons[i] < 45.24 || lons[i] > 45.27 {
			t.Fatalf("a ping from %v,%v, out of the village", lats[i], lons[i])
		}
	}
}

func TestMixChangesTheCity(t *testing.T) {
	t.Parallel()
	cars, _ := sentIn(t, "--mix=car=1")
	walkers, _ := sentIn(t, "--mix=walk=1")
	if len(cars) < 150 || len(walkers) < 150 {
		t.Errorf("%d pings of cars and %d of walkers came", len(cars), len(walkers))
	}
}

func TestCityIsWhereTheFlagSays(t *testing.T) {
	t.Parallel()
	lats, lons := sentIn(t, "--city=-33.9,151.2,3000")
	for i := range lats {
		if math.Abs(lats[i]+33.9) > 0.05 || math.Abs(lons[i]-151.2) > 0.05 {
			t.Fatalf("a ping from %v,%v", lats[i], lons[i])
		}
	}
}

func TestMovementRefuses(t *testing.T) {
	t.Parallel()
	torn := filepath.Join(t.TempDir(), "torn.geojson")
	if err := os.WriteFile(torn, []byte(`{"features":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`"plane" is not one of car, courier, walk, bus`: {"--mix=plane=1"},
		"without riders": {"--mix=car=0"},
		"--roads, --profile=concert: a concert is in a city on a grid": {"--roads", village, "--profile=concert"},
		"--city, --roads: a road network is where its file says":       {"--roads", village, "--city=41.1579,-8.6291,8000"},
		"--roads: open":               {"--roads", "none.osm"},
		"no streets: it has no lines": {"--roads", torn},
	} {
		_, err := run(t.Context(), append([]string{"run", "--target=http://127.0.0.1:1", "--for=1s"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

func TestCommandOfThePageNamesTheMovement(t *testing.T) {
	f := MovementFlags{Roads: "a b.pbf", Cover: true}
	if err := f.Mix.UnmarshalText([]byte("car=1,bus=2")); err != nil {
		t.Fatal(err)
	}
	city := MovementFlags{City: new(CityFlag)}
	if err := city.City.UnmarshalText([]byte("1,2,3000")); err != nil {
		t.Fatal(err)
	}
	if text := city.String(); text != " --city=1,2,3000" {
		t.Errorf("the flags are %q", text)
	}
	if text := f.String(); text != ` --mix=car=1,bus=2 --roads="a b.pbf" --cover` {
		t.Errorf("the flags are %q", text)
	}
	if text := (&MovementFlags{}).String(); text != "" {
		t.Errorf("no flags are %q", text)
	}
}
