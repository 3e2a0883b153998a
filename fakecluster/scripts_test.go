package fakecluster_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
)

// TestScripts sends the scripts in testdata/scripts, which say what a real OSD of
// their release answered. They are what TestInteropScripts found and made short.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.json")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no scripts")
	}
	clusters := map[int]*rawCluster{}
	for i, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		var s script
		must(t, json.Unmarshal(b, &s))
		c := clusters[s.Release]
		if c == nil {
			c = openRawFake(t, fakecluster.New(t, fakecluster.Release(s.Release)))
			defer c.close()
			clusters[s.Release] = c
		}
		pool := fmt.Sprint("scripts-", i)
		must(t, makePool(t.Context(), c, pool, s.Pool))
		st, err := openStage(t.Context(), c, pool, s.Pool)
		must(t, err)
		must(t, st.begin(t.Context(), 1))
		for k, step := range s.Steps {
			a, err := st.run(t.Context(), step)
			must(t, err)
			if a != s.Answers[k] {
				t.Errorf("%s: %s\n%s, step %d\nreal %s\nfake %s", file, s.Note, steps(s.Steps[:k+1]), k, s.Answers[k], a)
				break
			}
		}
	}
}
