//go:build interop

package rbd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// site is one real cluster that the tests run against.
type site struct {
	conf string
	root string // where that release's tools are installed
	c    *rados.Client
}

// sites runs f against every cluster in RBDM_CONFS, the paths of ceph.conf files
// with commas between them. A file "root" beside one names the folder to chroot
// to for that release's tools.
func sites(t *testing.T, f func(t *testing.T, s *site)) {
	t.Helper()
	for _, path := range confs(t) {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { f(t, newSite(t, path)) })
	}
}

// sitesB is sites for benchmarks.
func sitesB(b *testing.B, f func(b *testing.B, s *site)) {
	b.Helper()
	for _, path := range confs(b) {
		b.Run(filepath.Base(filepath.Dir(path)), func(b *testing.B) { f(b, newSite(b, path)) })
	}
}

func confs(t testing.TB) []string {
	t.Helper()
	list := os.Getenv("RBDM_CONFS")
	if list == "" {
		list = os.Getenv("RBDM_CONF")
	}
	if list == "" {
		t.Fatal("set RBDM_CONFS to the ceph.conf of one or more real clusters, separated by commas")
	}
	return strings.Split(list, ",")
}

func newSite(t testing.TB, path string) *site {
	t.Helper()
	s := &site{conf: path, root: "/"}
	if p, err := os.ReadFile(filepath.Join(filepath.Dir(path), "root")); err == nil {
		s.root = strings.TrimSpace(string(p))
	}
	s.c = s.connect(t)
	return s
}

// connect makes a client of the cluster that ends with the test.
func (s *site) connect(t testing.TB) *rados.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	inv, _, err := conf.ParseArgs([]string{"-c", s.conf}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := inv.Load()
	if err != nil {
		t.Fatal(err)
	}
	c, err := rados.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// cmd is a real tool's command line against the cluster.
func (s *site) cmd(tool string, args ...string) *exec.Cmd {
	args = append([]string{"-c", s.conf}, args...)
	if s.root == "/" {
		return exec.Command(tool, args...)
	}
	return exec.Command("chroot", append([]string{s.root, tool}, args...)...)
}

// run runs a real tool and returns its standard output.
func (s *site) run(t testing.TB, tool string, args ...string) string {
	t.Helper()
	c := s.cmd(tool, args...)
	var out, bad bytes.Buffer
	c.Stdout, c.Stderr = &out, &bad
	if err := c.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", tool, strings.Join(args, " "), err, out.String(), bad.String())
	}
	return out.String()
}

// rbd runs the real rbd with --no-progress.
func (s *site) rbd(t testing.TB, args ...string) string { return s.run(t, "rbd", args...) }

// pool makes a pool that is gone after the test.
func (s *site) pool(t testing.TB) (string, *rados.IoCtx) {
	t.Helper()
	name := fmt.Sprintf("rbdt-%x", rand.Uint64())
	s.run(t, "ceph", "osd", "pool", "create", name, "8")
	t.Cleanup(func() { s.run(t, "ceph", "osd", "pool", "rm", name, name, "--yes-i-really-really-mean-it") })
	if err := s.c.LatestOSDMap(t.Context()); err != nil {
		t.Fatal(err)
	}
	io, err := s.c.OpenPool(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := PoolInit(t.Context(), io, false); err != nil {
		t.Fatal(err)
	}
	return name, io
}

// sum is the hash of what the real rbd exports.
func (s *site) sum(t testing.TB, spec string) [32]byte {
	t.Helper()
	return sha256.Sum256([]byte(s.rbd(t, "export", "--no-progress", spec, "-")))
}

// model is an image of ours beside a copy of its content in memory.
type model struct {
	t    *testing.T
	s    *site
	pool string
	name string
	img  *Image
	data []byte
	rnd  *rand.Rand
	snap map[string][]byte
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// change makes n random changes.
func (m *model) change(n int) {
	m.t.Helper()
	ctx := m.t.Context()
	for range n {
		size := uint64(len(m.data))
		off := m.rnd.Uint64N(size)
		ln := min(m.rnd.Uint64N(200<<10)+1, size-off)
		if m.rnd.IntN(8) == 0 {
			ln = min(m.rnd.Uint64N(5<<20)+1, size-off)
		}
		switch m.rnd.IntN(6) {
		case 0:
			if err := m.img.WriteZeroes(ctx, off, ln); err != nil {
				m.t.Fatal(err)
			}
			clear(m.data[off : off+ln])
		case 1:
			// Whole blocks of the granularity go; the rest stays.
			g := uint64(64 << 10)
			off, ln = off/g*g, (ln+g-1)/g*g
			ln = min(ln, (size-off)/g*g)
			if ln == 0 {
				continue
			}
			if err := m.img.Discard(ctx, off, ln); err != nil {
				m.t.Fatal(err)
			}
			clear(m.data[off : off+ln])
		default:
			p := make([]byte, ln)
			for i := range p {
				p[i] = byte(m.rnd.Uint32())
			}
			if _, err := m.img.WriteAt(ctx, p, off); err != nil {
				m.t.Fatal(err)
			}
			copy(m.data[off:], p)
		}
	}
}

// takeSnap makes a snapshot.
func (m *model) takeSnap(name string) uint64 {
	m.t.Helper()
	id, err := m.img.CreateSnapshot(m.t.Context(), name, userNamespace(), SnapshotOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	m.snap[name] = bytes.Clone(m.data)
	return id
}

// check compares the image and its snapshots with the model, read by us and by
// the real rbd, and lets the real rbd check the object map.
func (m *model) check() {
	m.t.Helper()
	ctx := m.t.Context()
	p := make([]byte, len(m.data))
	if n, err := m.img.ReadAt(ctx, p, 0); err != nil || n != len(p) {
		m.t.Fatalf("read %d: %v", n, err)
	}
	if !bytes.Equal(p, m.data) {
		if m.s.sum(m.t, m.pool+"/"+m.name) == sha256.Sum256(m.data) {
			m.t.Error("rbd export gives the right data")
		}
		d := firstDifference(p, m.data)
		m.t.Logf("at %d: have %x, want %x", d, p[d:d+32], m.data[d:d+32])
		m.t.Fatalf("we read other data; first difference at %d", firstDifference(p, m.data))
	}
	spec := m.pool + "/" + m.name
	if m.s.sum(m.t, spec) != sha256.Sum256(m.data) {
		m.t.Fatal("rbd export gives other data")
	}
	for name, want := range m.snap {
		if m.s.sum(m.t, spec+"@"+name) != sha256.Sum256(want) {
			m.t.Fatalf("rbd export of snapshot %s gives other data", name)
		}
	}
	if m.img.Features()&FeatureObjectMap != 0 {
		m.s.checkMaps(m.t, spec, m.img)
	}
}

// checkMaps lets the real rbd check all object maps.
func (s *site) checkMaps(t testing.TB, spec string, img *Image) {
	t.Helper()
	specs := []string{spec}
	for _, sn := range img.Snapshots() {
		if isUser(sn.Namespace) {
			specs = append(specs, spec+"@"+sn.Name)
		}
	}
	for _, sp := range specs {
		s.rbd(t, "object-map", "check", "--no-progress", sp)
		if info := s.rbd(t, "info", sp); strings.Contains(info, "invalid") {
			explainMaps(t, img)
			t.Fatalf("rbd object-map check %s found it wrong:\n%s", sp, info)
		}
	}
}

// gone makes sure that no object with the id in its name is left, but for those
// that only wait for the cluster to trim removed snapshots.
func (s *site) gone(t *testing.T, pool string, io *rados.IoCtx, id string) {
	t.Helper()
	for oid := range strings.FieldsSeq(s.run(t, "rados", "-p", pool, "ls")) {
		if !strings.Contains(oid, id) {
			continue
		}
		op := rados.NewOp()
		op.AssertExists()
		if err := io.Operate(t.Context(), oid, op); !errors.Is(err, rados.ErrNotFound) {
			t.Errorf("object %s is left: %v", oid, err)
		}
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// newModel creates an image of ours.
func newModel(t *testing.T, s *site, pool string, io *rados.IoCtx, name string, size uint64, o CreateOptions, seed uint64) *model {
	t.Helper()
	if _, err := Create(t.Context(), io, name, size, o); err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, s: s, pool: pool, name: name, data: make([]byte, size), rnd: rand.New(rand.NewPCG(seed, 0)), snap: map[string][]byte{}}
	m.open(io)
	return m
}

func (m *model) open(io *rados.IoCtx) {
	m.t.Helper()
	img, err := Open(m.t.Context(), io, m.name, OpenOptions{Logger: slog.New(slog.NewTextHandler(m.t.Output(), nil))})
	if err != nil {
		m.t.Fatal(err)
	}
	m.img = img
	m.t.Cleanup(func() { img.Close(context.WithoutCancel(m.t.Context())) })
}

func TestInteropWeWriteRbdReads(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		pool, io := s.pool(t)
		for _, c := range []struct {
			name string
			o    CreateOptions
		}{
			{"plain", CreateOptions{}},
			{"small-objects", CreateOptions{Order: 16}},
			{"striped", CreateOptions{Order: 20, StripeUnit: 64 << 10, StripeCount: 3}},
			{"no-map", CreateOptions{Features: FeatureLayering, HasFeatures: true}},
		} {
			t.Run(c.name, func(t *testing.T) {
				m := newModel(t, s, pool, io, c.name, 17<<20+12345, c.o, 42)
				m.change(30)
				m.check()
				m.takeSnap("one")
				m.change(20)
				m.takeSnap("two")
				m.change(10)
				m.check()
				if err := m.img.Resize(t.Context(), 9<<20+777, true, nil); err != nil {
					t.Fatal(err)
				}
				m.data = m.data[:9<<20+777]
				m.check()
				if err := m.img.Resize(t.Context(), 20<<20, false, nil); err != nil {
					t.Fatal(err)
				}
				m.data = append(m.data, make([]byte, 20<<20-len(m.data))...)
				m.change(5)
				m.check()
				one, _ := m.img.UserSnapshot("one")
				if err := m.img.RemoveSnapshot(t.Context(), one.ID); err != nil {
					t.Fatal(err)
				}
				delete(m.snap, "one")
				m.check()
				two, _ := m.img.UserSnapshot("two")
				if err := m.img.Rollback(t.Context(), two.ID, nil); err != nil {
					t.Fatal(err)
				}
				m.data = bytes.Clone(m.snap["two"])
				m.check()
				if err := m.img.RemoveSnapshot(t.Context(), two.ID); err != nil {
					t.Fatal(err)
				}
				if err := m.img.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := Remove(t.Context(), io, c.name, nil); err != nil {
					t.Fatal(err)
				}
				s.gone(t, pool, io, m.img.ID())
			})
		}
	})
}
