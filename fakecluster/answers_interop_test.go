//go:build interop

package fakecluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestInteropScripts sends random scripts of raw messages to a real cluster
// (RBDM_CONF, of release RBDM_RELEASE, of its own) and to a fake one and compares
// the answers byte by byte, but for ids and times. RBDM_SEED is the first seed,
// RBDM_SEEDS how many, RBDM_STEPS how long each is, RBDM_WORLDS how many run at
// once; RBDM_THEME=0 makes most of it class methods, RBDM_PATIENCE is how many
// seconds an answer may take. What differs is made as short as possible and, with RBDM_KEEP, written
// there as a script with the real answers, for testdata/scripts.
func TestInteropScripts(t *testing.T) {
	release, seed := number("RBDM_RELEASE", 20), number("RBDM_SEED", int(time.Now().Unix()))
	h := &hunt{release: release, found: map[string]int{}, next: uint64(seed), end: uint64(seed + number("RBDM_SEEDS", 20))}
	t.Logf("RBDM_SEED=%d", seed)
	patience = time.Duration(number("RBDM_PATIENCE", 8)) * time.Second
	cfg := realConfig(t)
	c := fakecluster.New(t, fakecluster.Release(release), fakecluster.OSDs(3))
	if chosen() != nil { // the real one is to have osd_class_load_list=* as well
		admin(t, connect(t, c, "client.admin"), map[string]any{"prefix": "config set", "who": "osd", "name": "osd_class_load_list", "value": "*"})
	}
	h.clusters = [2]*rawCluster{
		openRaw(t, "real", cfg, nil),
		openRawFake(t, c),
	}
	defer h.clusters[0].close()
	defer h.clusters[1].close()
	kinds := strings.Split(os.Getenv("RBDM_POOLS"), ",")
	var wg sync.WaitGroup
	for i := range number("RBDM_WORLDS", 6) {
		wg.Go(func() { h.world(t, i, fmt.Sprintf("fk-scripts-%d-%d-%d", seed, os.Getpid(), i), kinds[i%len(kinds)]) })
	}
	wg.Wait()
	t.Logf("%d scripts, %d steps, %d different", h.scripts, h.steps, len(h.found))
}

// hunt is the search for differences.
type hunt struct {
	clusters [2]*rawCluster
	release  int

	mu             sync.Mutex
	next, end      uint64
	found          map[string]int
	scripts, steps int
}

func (h *hunt) seed() (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next - 1, h.next <= h.end
}

// world runs scripts in a pool, and takes a new one whenever something differed:
// what is left of that would show in the listings of later scripts.
func (h *hunt) world(t *testing.T, i int, pool, kind string) {
	number := uint64(i) << 12 // watches of all worlds come by the same connection
	for n := 0; h.pool(t, fmt.Sprintf("%s-%d", pool, n), kind, &number); n++ {
	}
}

// pool runs scripts in a new pool until something differs; false ends it all.
func (h *hunt) pool(t *testing.T, pool, kind string, number *uint64) bool {
	ctx := t.Context()
	var stages [2]*stage
	for i, c := range h.clusters {
		if err := makePool(ctx, c, pool, kind); err != nil {
			t.Error(err)
			return false
		}
		defer func() {
			_, _ = c.command(context.Background(), map[string]any{"prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true})
		}()
		var err error
		if stages[i], err = openStage(ctx, c, pool, kind); err != nil {
			t.Error(err)
			return false
		}
	}
	for {
		seed, more := h.seed()
		if !more {
			return false
		}
		m := newMaker(seed, kind, h.release)
		s := &script{Release: h.release, Pool: kind, Note: strings.TrimSpace(fmt.Sprint("seed ", seed, " ", kind))}
		for range length(kind) {
			s.Steps = append(s.Steps, m.step())
		}
		same, on := h.hunt(t, stages, s, number)
		if !on || !same {
			return on
		}
	}
}

// length is how many steps a script has.
func length(kind string) int {
	if kind == "pool" {
		return number("RBDM_STEPS", 150) // snapshots of the pool are dear
	}
	return number("RBDM_STEPS", 300)
}

// hunt runs a script and shortens what differs. It returns whether nothing did,
// and whether the pool's scripts can go on.
func (h *hunt) hunt(t *testing.T, stages [2]*stage, s *script, number *uint64) (same, on bool) {
	at, answers, err := compare(t, stages, s.Steps, number)
	h.mu.Lock()
	h.scripts++
	h.steps += len(s.Steps)
	h.mu.Unlock()
	if err != nil {
		t.Errorf("%s: %v at step %d:\n%s", s.Note, err, at, steps(s.Steps[max(0, min(len(s.Steps), at+1)-5):min(len(s.Steps), at+1)]))
		return false, true
	}
	if at < 0 {
		t.Logf("%s: %d steps, none differs", s.Note, len(s.Steps))
		return true, true
	}
	sign := signature(s.Steps[at], answers)
	t.Logf("%s: step %d of %d, %s\n%s\nreal %s\nfake %s", s.Note, at, len(s.Steps), sign, s.Steps[at], answers[0], answers[1])
	if answers[0] == silence {
		t.Errorf("%s: the real cluster is silent at step %d: %s", s.Note, at, s.Steps[at])
		return false, true // its group is stuck: the next pool has another
	}
	h.mu.Lock()
	h.found[sign]++
	n := h.found[sign]
	h.mu.Unlock()
	if n > 1 {
		return false, true
	}
	first := answers
	s.Steps, err = shorten(t, stages, s.Steps[:at+1], sign, number)
	if err != nil {
		t.Errorf("%s, %s: %v\n%s\nreal %s\nfake %s", s.Note, sign, err, s.Steps[len(s.Steps)-1], first[0], first[1])
		return false, true
	}
	at, answers, err = compare(t, stages, s.Steps, number)
	if err == nil && at < 0 {
		t.Errorf("%s, %s\nonly once, last\n%s\nreal %s\nfake %s", s.Note, sign, steps(about(s.Steps)), first[0], first[1])
		return false, true
	}
	t.Errorf("%s, %s\n%s\nreal %s\nfake %s (%d %v)", s.Note, sign, steps(s.Steps), answers[0], answers[1], at, err)
	if dir := os.Getenv("RBDM_KEEP"); dir != "" && err == nil && at >= 0 {
		keep(t, dir, stages[0], s, number)
	}
	return false, true
}

// about returns the steps about the object of the last one.
func about(l []rawStep) []rawStep {
	var out []rawStep
	for _, s := range l {
		if s.Object == l[len(l)-1].Object || s.Do != "op" || s.Object == "" {
			out = append(out, s)
		}
	}
	return out[max(0, len(out)-40):]
}

// signature tells findings apart.
func signature(st rawStep, answers [2]string) string {
	var names []string
	for _, o := range st.Ops {
		n := o.Name
		if n == "call" {
			n, _, _ = strings.Cut(o.String(), "(")
		}
		names = append(names, n)
	}
	if len(names) > 2 {
		names = names[len(names)-2:]
	}
	var results []string
	for _, a := range answers {
		r, _, _ := strings.Cut(a, " ")
		results = append(results, r)
	}
	return fmt.Sprintf("%s %s: %s", st.Do, strings.Join(names, "+"), strings.Join(results, " / "))
}

// compare runs steps at both stages and returns the first at which the answers
// differ, -1 when none does.
func compare(t *testing.T, stages [2]*stage, steps []rawStep, number *uint64) (at int, answers [2]string, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	*number++
	for _, s := range stages {
		if err := s.begin(ctx, *number); err != nil {
			return 0, answers, fmt.Errorf("%s: %w", s.c.name, err)
		}
	}
	for i, st := range steps {
		var errs [2]error
		var wg sync.WaitGroup
		for k, s := range stages {
			wg.Go(func() { answers[k], errs[k] = s.run(ctx, st) })
		}
		wg.Wait()
		for k, err := range errs {
			if err != nil {
				return i, answers, fmt.Errorf("%s: %w", stages[k].c.name, err)
			}
		}
		if answers[0] != answers[1] {
			return i, answers, nil
		}
	}
	return -1, answers, nil
}

// shorten leaves out whatever is not needed for a difference of the same kind at
// the end: whole steps, then single operations.
func shorten(t *testing.T, stages [2]*stage, l []rawStep, sign string, number *uint64) ([]rawStep, error) {
	same := func(try []rawStep) (bool, error) {
		at, answers, err := compare(t, stages, try, number)
		return err == nil && at == len(try)-1 && signature(try[at], answers) == sign, err
	}
	without := func(l []rawStep, i, n int) []rawStep {
		var out []rawStep
		made := 0 // snapshots before that are left out
		for k, s := range l {
			if k >= i && k < i+n {
				if s.Do == "snap" {
					made++
				}
				continue
			}
			out = append(out, s)
		}
		if made > 0 {
			return nil // names of snapshots would mean others
		}
		return out
	}
	for size := len(l) / 2; size >= 1; size /= 2 {
		for i := len(l) - 1 - size; i >= 0; i -= size {
			try := without(l, i, size)
			if try == nil {
				continue
			}
			ok, err := same(try)
			if err != nil {
				return l, err
			}
			if ok {
				l = try
				i = min(i, len(l)-1)
			}
		}
	}
	for i := range l {
		for k := len(l[i].Ops) - 1; k >= 0 && len(l[i].Ops) > 1; k-- {
			if i == len(l)-1 && k >= len(l[i].Ops)-2 {
				continue
			}
			try := append([]rawStep(nil), l...)
			try[i].Ops = append(append([]rawOp(nil), l[i].Ops[:k]...), l[i].Ops[k+1:]...)
			if ok, err := same(try); err != nil {
				return l, err
			} else if ok {
				l = try
			}
		}
	}
	return l, nil
}

// TestInteropScript shows the answers of both clusters to the script in RBDM_SCRIPT
// and, with RBDM_KEEP, writes the real one's there.
func TestInteropScript(t *testing.T) {
	b, err := os.ReadFile(os.Getenv("RBDM_SCRIPT"))
	must(t, err)
	var s script
	must(t, json.Unmarshal(b, &s))
	inv, _, err := conf.ParseArgs([]string{"-c", os.Getenv("RBDM_CONF")}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(t, err)
	cfg, err := inv.Load()
	must(t, err)
	for _, c := range []*rawCluster{openRaw(t, "real", cfg, nil), openRawFake(t, fakecluster.New(t, fakecluster.Release(s.Release), fakecluster.OSDs(3)))} {
		defer c.close()
		pool := fmt.Sprintf("fk-script-%d", time.Now().UnixNano())
		must(t, makePool(t.Context(), c, pool, s.Pool))
		st, err := openStage(t.Context(), c, pool, s.Pool)
		must(t, err)
		must(t, record(t.Context(), st, &s))
		for i, a := range s.Answers {
			t.Logf("%s %3d %s\n%s", c.name, i, s.Steps[i], a)
		}
		_, _ = c.command(t.Context(), map[string]any{"prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true})
		if dir := os.Getenv("RBDM_KEEP"); dir != "" && c.name == "real" {
			write(t, filepath.Join(dir, filepath.Base(os.Getenv("RBDM_SCRIPT"))), &s)
		}
	}
}

func write(t *testing.T, file string, s *script) {
	b, err := json.MarshalIndent(s, "", " ")
	must(t, err)
	must(t, os.WriteFile(file, append(b, '\n'), 0o644))
}

// keep writes a script with the real cluster's answers, in a fresh pool.
func keep(t *testing.T, dir string, old *stage, s *script, number *uint64) {
	ctx := t.Context()
	*number++
	pool := fmt.Sprintf("%s-%d", old.name, *number)
	if err := makePool(ctx, old.c, pool, s.Pool); err != nil {
		t.Error(err)
		return
	}
	defer func() {
		_, _ = old.c.command(context.Background(), map[string]any{"prefix": "osd pool delete", "pool": pool, "pool2": pool, "yes_i_really_really_mean_it": true})
	}()
	st, err := openStage(ctx, old.c, pool, s.Pool)
	if err != nil {
		t.Error(err)
		return
	}
	if err := record(ctx, st, s); err != nil {
		t.Error(err)
		return
	}
	write(t, filepath.Join(dir, fmt.Sprintf("%s-%d.json", strings.ReplaceAll(s.Note, " ", "-"), s.Release)), s)
}

// record replaces a script's answers by those of a stage.
func record(ctx context.Context, st *stage, s *script) error {
	if err := st.begin(ctx, 1); err != nil {
		return err
	}
	s.Answers = nil
	for _, step := range s.Steps {
		a, err := st.run(ctx, step)
		if err != nil {
			return err
		}
		s.Answers = append(s.Answers, a)
	}
	return nil
}
