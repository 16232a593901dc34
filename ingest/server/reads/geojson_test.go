package reads

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/query"
)

// The points whose time is a guess are told in GeoJSON as in JSON.
func TestCorrectedPointsInGeoJSON(t *testing.T) {
	list := make([]pingline.Entry, 3)
	for i := range list {
		list[i].Rider, list[i].At, list[i].Late, list[i].Corrected = "r", int64(1000+i), true, i > 0
	}
	feature, err := io.ReadAll(inTurn(lineOf("r", list)...))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Properties struct{ Times, Corrected, Waiting []int64 }
	}
	if err := json.Unmarshal(feature, &f); err != nil || !slices.Equal(f.Properties.Times, []int64{1000, 1001, 1002}) || !slices.Equal(f.Properties.Corrected, []int64{1001, 1002}) || f.Properties.Waiting != nil {
		t.Errorf("%s: %v", feature, err)
	}
	if got := query.AppendStored(nil, &list[1]); !strings.Contains(string(got), `"late":true,"clock":"corrected"`) {
		t.Errorf("as JSON it is %s", got)
	}
}
