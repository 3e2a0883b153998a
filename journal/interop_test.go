//go:build interop

package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// site is one real cluster that the tests run against.
type site struct {
	conf, root string // root is where that release's tools are installed
	io         *rados.IoCtx
	pool       string
}

// sites runs f against every cluster in RBDM_CONFS, the paths of ceph.conf files
// with commas between them, each with a new pool. A file "root" beside one names
// the folder to chroot to for that release's tools.
func sites(t *testing.T, f func(t *testing.T, s *site)) {
	t.Helper()
	for _, path := range confs(t) {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) { f(t, newSite(t, path)) })
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
	s := &site{conf: path, root: "/", pool: "jr-" + strings.ToLower(filepath.Base(t.Name())) + time.Now().Format("150405.000")}
	if p, err := os.ReadFile(filepath.Join(filepath.Dir(path), "root")); err == nil {
		s.root = strings.TrimSpace(string(p))
	}
	inv, _, err := conf.ParseArgs([]string{"-c", path}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	must(t, err)
	cfg, err := inv.Load()
	must(t, err)
	c, err := rados.Connect(t.Context(), cfg)
	must(t, err)
	must(t, c.CreatePool(t.Context(), s.pool))
	s.io, err = c.OpenPool(t.Context(), s.pool)
	must(t, err)
	t.Cleanup(func() {
		_ = c.DeletePool(context.Background(), s.pool)
		_ = c.Close()
	})
	s.run(t, "rbd", "pool", "init", s.pool)
	return s
}

// run runs one of the release's tools and returns what it prints; stderr too.
func (s *site) run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := s.command(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (s *site) command(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := s.prepare(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// prepare returns one of the release's tools, not started.
func (s *site) prepare(ctx context.Context, name string, args ...string) *exec.Cmd {
	if s.root != "/" {
		name, args = "chroot", append([]string{s.root, name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CEPH_CONF="+s.conf)
	return cmd
}

// image makes an image with journaling and returns its id.
func (s *site) image(t *testing.T, name string, args ...string) string {
	t.Helper()
	s.run(t, "rbd", append([]string{"create", s.pool + "/" + name, "--size", "32M", "--image-feature", "exclusive-lock,journaling"}, args...)...)
	var info struct{ ID string }
	must(t, json.Unmarshal([]byte(s.run(t, "rbd", "info", s.pool+"/"+name, "--format", "json")), &info))
	return info.ID
}

// exported is one entry of "rbd journal export".
type exported struct {
	Tag  uint64 `json:"tag_id"`
	Type uint32 `json:"type"`
	Data []byte `json:"entry"`
}

// export runs "rbd journal export" and parses what it writes.
func (s *site) export(t *testing.T, id string) (all []exported) {
	t.Helper()
	file := filepath.Join(filepath.Dir(s.conf), s.pool+".export")
	defer os.Remove(file)
	s.run(t, "rbd", "journal", "export", s.pool+"/"+id, file)
	p, err := os.ReadFile(file)
	must(t, err)
	lines := strings.Split(strings.TrimSuffix(string(p), "\n"), "\n")
	if lines[0] != "# journal_id: "+id {
		t.Fatalf("the export begins with %q", lines[0])
	}
	for _, line := range lines[1:] {
		_, text, _ := strings.Cut(line, " ")
		var e exported
		must(t, json.Unmarshal([]byte(text), &e))
		all = append(all, e)
	}
	return all
}

// same fails unless the entries are those of the export.
func same(t *testing.T, got []*Entry, want []exported) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, rbd exports %d", len(got), len(want))
	}
	for i, e := range got {
		if e.TagTID != want[i].Tag || !bytes.Equal(e.Data, want[i].Data) {
			t.Fatalf("entry %d: tag %d %x, rbd exports tag %d %x", i, e.TagTID, e.Data, want[i].Tag, want[i].Data)
		}
	}
}

func TestInteropPlaysWhatRbdWrote(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		id := s.image(t, "a", "--journal-object-size", "64K", "--journal-splay-width", "3")
		peer := open(t, s.io, id, "peer", quick())
		must(t, peer.Register(t.Context(), nil))
		tail := player(t, peer, PlayerOptions{Tail: true})
		spec := s.pool + "/a"
		bench := []string{"bench", spec, "--io-type", "write", "--io-size"}
		s.run(t, "rbd", append(bench, "4096", "--io-total", "4M", "--io-pattern", "rand")...)
		s.run(t, "rbd", append(bench, "40000", "--io-total", "3M", "--io-threads", "4")...)
		s.run(t, "rbd", "snap", "create", spec+"@s")
		s.run(t, "rbd", append(bench, "64K", "--io-total", "1M")...)
		s.run(t, "rbd", "resize", spec, "--size", "64M")
		s.run(t, "rbd", "image-meta", "set", spec, "k", "v")
		s.run(t, "rbd", append(bench, "512", "--io-total", "100K", "--io-pattern", "rand")...)
		want := s.export(t, id)
		all, err := drain(player(t, open(t, s.io, id, "peer", quick()), PlayerOptions{}))
		must(t, err)
		same(t, all, want)
		if out := s.run(t, "rbd", "journal", "inspect", s.pool+"/"+id); !strings.Contains(out, fmt.Sprintf("%d entries inspected, 0 errors", len(all))) {
			t.Fatal(out)
		}
		// The same by tailing, all of it committed: then there is nothing left for
		// rbd to show, and the sets before are gone.
		var tailed []*Entry
		for range all {
			e, err := tail.Next(t.Context())
			must(t, err)
			tailed = append(tailed, e)
			e.Committed()
		}
		same(t, tailed, want)
		must(t, peer.FlushCommitPosition(t.Context()))
		if left := s.export(t, id); len(left) != 0 {
			t.Fatalf("%d entries left", len(left))
		}
		await(t, peer, func(st State) bool { return st.MinimumSet+1 >= st.ActiveSet })
		last := all[len(all)-1]
		position := fmt.Sprintf("id=peer, commit_position=[positions=[[object_number=%d, tag_tid=%d, entry_tid=%d]", last.Object, last.TagTID, last.EntryTID)
		if out := s.run(t, "rbd", "journal", "status", s.pool+"/"+id); !strings.Contains(out, position) {
			t.Fatalf("no %s in\n%s", position, out)
		}
		// The image goes on with a journal of which the beginning is gone.
		s.run(t, "rbd", append(bench, "4096", "--io-total", "1M", "--io-pattern", "rand")...)
		all, err = drain(player(t, open(t, s.io, id, "peer", quick()), PlayerOptions{}))
		must(t, err)
		same(t, all, s.export(t, id))
		if len(all) < 256 {
			t.Fatalf("only %d entries", len(all))
		}
	})
}

func TestInteropRbdReplaysWhatWeRecorded(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		id := s.image(t, "a", "--journal-object-size", "64K")
		j := open(t, s.io, id, "", quick())
		peer := open(t, s.io, id, "peer", quick())
		must(t, peer.Register(t.Context(), nil))
		tag, err := j.AllocateTag(t.Context(), 0, wire.TagData{Predecessor: wire.TagPredecessor{CommitValid: false}}.Append(nil))
		must(t, err)
		r := recorder(t, j)
		image := make([]byte, 32<<20)
		rnd := rand.New(rand.NewPCG(7, 7))
		var want []exported
		for i := range 600 {
			ev := wire.Event{Type: wire.EventWrite, Time: denc.TimeOf(time.Now())}
			ev.Data = make([]byte, 1+rnd.IntN(8000))
			for k := range ev.Data {
				ev.Data[k] = byte(rnd.Uint32())
			}
			ev.Length = uint64(len(ev.Data))
			ev.Offset = rnd.Uint64N(uint64(len(image)) - ev.Length)
			if i%50 == 49 {
				ev = wire.Event{Type: wire.EventFlush, Time: ev.Time}
			}
			copy(image[ev.Offset:], ev.Data)
			p := ev.Append(nil)
			_, err := r.Append(t.Context(), tag.TID, p)
			must(t, err)
			want = append(want, exported{Tag: tag.TID, Data: p})
		}
		must(t, r.Close(t.Context()))
		all, err := drain(player(t, peer, PlayerOptions{}))
		must(t, err)
		same(t, all, want)
		same(t, all, s.export(t, id))
		if out := s.run(t, "rbd", "journal", "inspect", s.pool+"/"+id); !strings.Contains(out, "600 entries inspected, 0 errors") {
			t.Fatal(out)
		}
		st, _ := j.State()
		must(t, j.Close(t.Context()))
		if out := s.run(t, "rbd", "journal", "status", s.pool+"/"+id); st.ActiveSet < 3 || !strings.Contains(out, fmt.Sprintf("active_set: %d\n", st.ActiveSet)) {
			t.Fatalf("%+v\n%s", st, out)
		}
		// Whoever takes the lock replays what we recorded.
		s.run(t, "rbd", "snap", "create", s.pool+"/a@s")
		file := filepath.Join(filepath.Dir(s.conf), s.pool+".image")
		defer os.Remove(file)
		s.run(t, "rbd", "export", s.pool+"/a@s", file)
		p, err := os.ReadFile(file)
		must(t, err)
		if !bytes.Equal(p, image) {
			t.Fatal("rbd replayed something else than was recorded")
		}
	})
}

// TestInteropTailsAWriterThatDies tails the journal of a real writer that is
// killed in the middle, and of the one that takes over.
func TestInteropTailsAWriterThatDies(t *testing.T) {
	sites(t, func(t *testing.T, s *site) {
		id := s.image(t, "a", "--journal-object-size", "64K")
		peer := open(t, s.io, id, "peer", quick())
		must(t, peer.Register(t.Context(), nil))
		tail := player(t, peer, PlayerOptions{Tail: true})
		ctx, kill := context.WithCancel(t.Context())
		bench := s.prepare(ctx, "rbd", "bench", s.pool+"/a", "--io-type", "write", "--io-size", "4096", "--io-total", "1G", "--io-pattern", "rand")
		must(t, bench.Start())
		var got []*Entry
		for range 3000 {
			e, err := tail.Next(t.Context())
			must(t, err)
			got = append(got, e)
		}
		kill()
		_ = bench.Wait()
		// It waits until the dead writer's watch is gone.
		s.run(t, "rbd", "snap", "create", s.pool+"/a@s")
		want := s.export(t, id)
		for len(got) < len(want) {
			e, err := tail.Next(t.Context())
			must(t, err)
			got = append(got, e)
		}
		same(t, got, want)
		if last := got[len(got)-1]; last.TagTID == got[0].TagTID {
			t.Fatal("nobody took over")
		}
	})
}
