package democmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/streams"
)

func TestDemoMirrorsAndFailsOver(t *testing.T) {
	var out, errs bytes.Buffer
	if code := Main(t.Context(), nil, streams.Streams{Out: &out, Err: &errs}); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	for _, want := range []string{"first sync: site-b has it", "delta: site-b has it", "failed over", "every byte equal"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
