package ops

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/rbdm/rbdm/rados"
)

// FuzzToken reads bootstrap tokens: nothing crashes, and what is taken for one has
// all its parts.
func FuzzToken(f *testing.F) {
	const good = `{"fsid":"9f5282db-b899-4596-8098-320c1fc396f3","client_id":"rbd-mirror-peer","key":"AQARw39d0vHoBhAAYL3R8FdytsIAN","mon_host":"[v2:192.168.1.3:6820,v1:192.168.1.3:6821]"}`
	for _, text := range []string{"", good, "null", "[]", `{"fsid":1}`, `{"fsid":"a","client_id":"b","key":"c"}`, good + "x"} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(text)))
		f.Add(text)
	}
	f.Add(" \n" + base64.StdEncoding.EncodeToString([]byte(good)) + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseToken(text)
		switch {
		case err != nil && !errors.Is(err, rados.ErrInvalid):
			t.Fatalf("%q: %v", text, err)
		case err == nil && (got.FSID == "" || got.ClientID == "" || got.Key == "" || got.MonHost == ""):
			t.Fatalf("%q: %+v", text, got)
		}
	})
}
