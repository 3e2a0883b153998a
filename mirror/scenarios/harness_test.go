// Package scenarios runs the scenarios of Ceph's own QA of mirroring
// (qa/workunits/rbd/rbd_mirror*.sh) on two clusters in memory: each is a
// test that is named by its number in that list, and compares every byte.
//
// With the tag interop those that need no faults run on two real clusters, whose
// ceph.conf RBDM_CONF and RBDM_PEER_CONF name: give them nothing else to do, and no
// pools.
package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/mirror/checkpoint"
	"github.com/rbdm/rbdm/mirror/engine"
	"github.com/rbdm/rbdm/mirror/meta"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/mirror/snapshots"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	pool   = "rbd"
	second = "second" // another mirrored pool
	data   = "data"   // for data pools
	// order makes small objects, so that small images have many.
	order = 16
	// imageSize is that of most images: 20 objects and a half.
	imageSize = 20<<order + 1<<(order-1)
)

// world is two clusters whose pools are peers.
type world struct {
	*testing.T
	// fakes is set where the clusters have to be in memory.
	fakes bool
	ctx   context.Context
	a, b  *site
	// journal is set where images are mirrored by their journals.
	journal bool
}

// site is one cluster, a client of it, and the daemon that may run there.
type site struct {
	w       *world
	name    string
	cluster *fakecluster.Cluster // nil if it is a real one
	cfg     *conf.Config
	client  *rados.Client

	daemon *engine.Daemon
	memory *checkpoint.Store
	path   string // of the checkpoints
	stop   func()
}

// newWorld makes a world of clusters of either kind, whose ids differ wherever they
// can. prepare is called before their pools are mirrored.
func newWorld(t *testing.T, prepare ...func(*world)) *world {
	t.Helper()
	return makeWorld(t, false, prepare...)
}

// newFakeWorld makes a world whose clusters are in memory, for faults.
func newFakeWorld(t *testing.T, prepare ...func(*world)) *world {
	t.Helper()
	return makeWorld(t, true, prepare...)
}

func makeWorld(t *testing.T, fakes bool, prepare ...func(*world)) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), worldTime)
	t.Cleanup(cancel)
	w := &world{T: t, ctx: ctx, fakes: fakes}
	w.a, w.b = w.start("site-a"), w.start("site-b")
	w.b.createPools("dummy")
	for _, s := range []*site{w.b, w.a} {
		s.createPools(pool, second, data)
	}
	dummy := w.b.io("dummy/x")
	_, err := rbd.Create(ctx, dummy, "x", 1<<20, rbd.CreateOptions{})
	require.NoError(t, err)
	for _, f := range prepare {
		f(w)
	}
	for _, name := range []string{pool, second} {
		for _, s := range []*site{w.a, w.b} {
			io := s.io(name + "/")
			require.NoError(t, rbd.PoolInit(ctx, io, false))
			if mode, err := meta.Mode(ctx, io); err != nil || mode == wire.MirrorModeDisabled {
				require.NoError(t, err)
				require.NoError(t, ops.EnablePool(ctx, io, wire.MirrorModeImage))
			}
			require.NoError(t, ops.SetSiteName(ctx, s.client, s.name))
		}
		token, err := ops.CreateToken(ctx, w.a.io(name+"/"))
		require.NoError(t, err)
		require.NoError(t, ops.ImportToken(ctx, w.b.io(name+"/"), name, token, wire.MirrorPeerRXTX))
	}
	return w
}

func (w *world) start(name string) *site {
	w.Helper()
	s := &site{w: w, name: name, path: filepath.Join(w.TempDir(), name+".db")}
	if !w.fakes {
		s.cfg = realConfig(w.T, name)
	}
	if s.cfg == nil {
		s.cluster = fakecluster.New(w.T, fakecluster.Name(name))
		key, err := s.cluster.Key("client.admin")
		require.NoError(w, err)
		s.cfg = conf.New("ceph", entity.AuthName{Type: entity.TypeClient, ID: "admin"})
		s.set(map[string]string{"mon_host": s.cluster.MonHost(), "key": key})
	}
	// The status follows the positions that both sites commit, which is what most
	// tests wait for.
	s.set(map[string]string{"rbd_journal_commit_age": "0.05", "rbd_mirror_journal_commit_age": "0.05"})
	var err error
	s.client, err = rados.Connect(w.ctx, s.cfg)
	require.NoError(w, err)
	w.Cleanup(func() { s.client.Close() })
	return s
}

// createPools makes pools, which a real cluster has until the test ends.
func (s *site) createPools(names ...string) {
	s.w.Helper()
	if s.cluster != nil {
		for _, name := range names {
			s.cluster.CreatePool(name)
		}
		require.NoError(s.w, s.client.WaitForOSDMap(s.w.ctx, s.cluster.Epoch()))
		return
	}
	_, _, err := s.client.MonCommand(s.w.ctx, map[string]any{"prefix": "osd blocklist clear"}, nil)
	require.NoError(s.w, err)
	// The monitors take a second for one and for all.
	all := func(f func(name string) error) {
		errs := make([]error, len(names))
		var wg sync.WaitGroup
		for i, name := range names {
			wg.Go(func() { errs[i] = f(name) })
		}
		wg.Wait()
		require.NoError(s.w, errors.Join(errs...))
	}
	all(func(name string) error { return s.client.CreatePool(s.w.ctx, name) })
	s.w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		all(func(name string) error {
			err := s.client.DeletePool(ctx, name)
			if errors.Is(err, rados.ErrNotFound) {
				return nil
			}
			return err
		})
	})
	require.NoError(s.w, s.client.LatestOSDMap(s.w.ctx))
}

// release is the cluster's release of Ceph.
func (s *site) release() int { return int(s.client.OSDMap().OSDOnly.RequireRelease) }

// block shuts a client out: nothing of what it sends from now on is done.
func (s *site) block(addr entity.Addr) {
	s.w.Helper()
	if s.cluster != nil {
		s.cluster.Blocklist(addr, time.Hour)
		return
	}
	require.NoError(s.w, s.client.Blocklist(s.w.ctx, addr, time.Hour))
	// An OSD that answers has the map that a request was made by.
	if _, err := s.io(pool+"/").Stat(s.w.ctx, "none"); !errors.Is(err, rados.ErrNotFound) {
		require.NoError(s.w, err)
	}
}

func (s *site) set(options map[string]string) {
	s.w.Helper()
	for option, v := range options {
		require.NoError(s.w, s.cfg.Set(conf.LevelOverride, option, v))
	}
}

// defaultAges is for tests in which something dies: positions are committed as seldom
// as they usually are, and much is replayed twice.
func defaultAges(w *world) {
	for _, s := range []*site{w.a, w.b} {
		s.set(map[string]string{"rbd_journal_commit_age": "5", "rbd_mirror_journal_commit_age": "5"})
	}
}

// run starts the daemon.
func (s *site) run() {
	s.w.Helper()
	require.Nil(s.w, s.stop, "a daemon runs already")
	memory, err := checkpoint.Open(s.path)
	require.NoError(s.w, err)
	level := slog.LevelInfo // shown when the test fails
	if os.Getenv("RBDM_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(s.w.Output(), &slog.HandlerOptions{Level: level})).With("site", s.name)
	s.memory = memory
	s.daemon = engine.NewDaemon(engine.Config{Local: s.cfg, Version: "test", Logger: log, Checkpoints: memory})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.daemon.Run(ctx) }()
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) { // it may not have come far
			require.NoError(s.w, err)
		}
		require.NoError(s.w, memory.Close())
		s.stop = nil
	}
	s.w.Cleanup(func() {
		if s.stop != nil {
			s.stop()
		}
	})
}

// kill ends the daemon without a farewell to its cluster, which it is cut off from
// first: what it does to stop does not arrive.
func (s *site) kill() {
	s.w.Helper()
	s.cutOff()
	s.stop()
}

// cutOff shuts the daemon out of its own cluster.
func (s *site) cutOff() {
	s.w.Helper()
	for _, b := range s.memory.Instances(s.client.FSID().String()) {
		var addr entity.Addr
		r := denc.NewReader(b)
		addr.Decode(r)
		require.NoError(s.w, r.Err())
		s.block(addr)
	}
}

// jsonHas reports whether every pool replayer of a pool in the output of status has
// a text in its part.
func jsonHas(out, text, pool string) bool {
	for _, part := range strings.Split(out, `"peer": `)[1:] {
		if strings.Contains(part, `"pool": "`+pool+`"`) && strings.Contains(part, text) {
			return true
		}
	}
	return false
}

// admin runs a command of the daemon's admin socket.
func (s *site) admin(words string) string {
	s.w.Helper()
	for _, c := range s.daemon.AdminCommands() {
		if c.Words == words {
			out, err := c.Run(s.w.ctx)
			require.NoError(s.w, err)
			return string(out)
		}
	}
	s.w.Fatalf("%s has no admin command %q", s.name, words)
	return ""
}

// io opens the pool and namespace of POOL/[NAMESPACE/]IMAGE.
func (s *site) io(spec string) *rados.IoCtx {
	s.w.Helper()
	parts := strings.Split(spec, "/")
	io, err := s.client.OpenPool(s.w.ctx, parts[0])
	require.NoError(s.w, err)
	if len(parts) == 3 {
		return io.WithNamespace(parts[1])
	}
	return io
}

func base(spec string) string { return spec[strings.LastIndexByte(spec, '/')+1:] }

// open opens an image; it is closed by the test's end at the latest.
func (s *site) open(spec string, o rbd.OpenOptions) *rbd.Image {
	s.w.Helper()
	img, err := rbd.Open(s.w.ctx, s.io(spec), base(spec), o)
	require.NoError(s.w, err, "%s on %s", spec, s.name)
	return img
}

// with opens an image for writing, calls f and closes it.
func (s *site) with(spec string, f func(img *rbd.Image) error) {
	s.w.Helper()
	img := s.open(spec, rbd.OpenOptions{})
	err := f(img)
	require.NoError(s.w, errors.Join(err, img.Close(s.w.ctx)), "%s on %s", spec, s.name)
}

func (s *site) create(spec string, size uint64, o rbd.CreateOptions) {
	s.w.Helper()
	if o.Order == 0 {
		o.Order = order
	}
	_, err := rbd.Create(s.w.ctx, s.io(spec), base(spec), size, o)
	require.NoError(s.w, err)
}

// remove removes an image. A daemon that has copied it may not have taken its point
// back yet, and an image with snapshots is not removed.
func (s *site) remove(spec string) {
	s.w.Helper()
	s.w.eventually("no points of "+spec, func() (bool, string) {
		img := s.open(spec, rbd.OpenOptions{ReadOnly: true})
		defer img.Close(s.w.ctx)
		return !slices.ContainsFunc(img.Snapshots(), syncPoint), "there are"
	})
	require.NoError(s.w, rbd.Remove(s.w.ctx, s.io(spec), base(spec), nil))
}

// write changes some ranges and zeroes one, by a seed.
func (s *site) write(spec string, seed uint64) {
	s.w.Helper()
	s.with(spec, func(img *rbd.Image) error { return scribble(s.w.ctx, img, seed) })
}

func scribble(ctx context.Context, img *rbd.Image, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 6 {
		p := make([]byte, 1+rnd.IntN(3<<(order-1)))
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		off := rnd.Uint64N(img.Size())
		p = p[:min(uint64(len(p)), img.Size()-off)]
		if _, err := img.WriteAt(ctx, p, off); err != nil {
			return err
		}
	}
	off := rnd.Uint64N(img.Size())
	return img.Discard(ctx, off, min(2<<order, img.Size()-off))
}

// snap makes a user snapshot.
func (s *site) snap(spec, name string) {
	s.w.Helper()
	s.with(spec, func(img *rbd.Image) error {
		_, err := img.CreateSnapshot(s.w.ctx, name, rbd.SnapshotNamespace{}, rbd.SnapshotOptions{})
		return err
	})
}

func (s *site) id(spec string) string {
	s.w.Helper()
	id, err := rbd.LookupID(s.w.ctx, s.io(spec), base(spec))
	require.NoError(s.w, err, "%s on %s", spec, s.name)
	return id
}

func (s *site) enable(spec string) {
	s.w.Helper()
	if s.w.journal {
		require.NoError(s.w, ops.EnableJournalImage(s.w.ctx, s.io(spec), s.id(spec)))
		return
	}
	require.NoError(s.w, ops.EnableImage(s.w.ctx, s.io(spec), s.id(spec)))
}

func (s *site) disable(spec string) {
	s.w.Helper()
	require.NoError(s.w, ops.DisableImage(s.w.ctx, s.io(spec), s.id(spec), false))
}

// mirror takes a mirror snapshot; a journal needs none.
func (s *site) mirror(spec string) {
	s.w.Helper()
	if s.w.journal {
		return
	}
	_, err := ops.Snapshot(s.w.ctx, s.io(spec), s.id(spec), rbd.SnapshotOptions{})
	require.NoError(s.w, err)
}

func (s *site) demote(spec string) {
	s.w.Helper()
	require.NoError(s.w, ops.Demote(s.w.ctx, s.io(spec), s.id(spec)))
}

func (s *site) promote(spec string, force bool) {
	s.w.Helper()
	require.NoError(s.w, ops.Promote(s.w.ctx, s.io(spec), s.id(spec), force))
}

func (s *site) resync(spec string) {
	s.w.Helper()
	require.NoError(s.w, ops.Resync(s.w.ctx, s.io(spec), s.id(spec)))
}

func (s *site) gid(spec string) string {
	s.w.Helper()
	e, err := meta.Image(s.w.ctx, s.io(spec), s.id(spec))
	require.NoError(s.w, err)
	return e.GlobalID
}

// eventually waits until ok, and fails with what was seen last.
func (w *world) eventually(what string, ok func() (bool, string)) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for pause := 4 * time.Millisecond; ; pause = min(pause*3/2, 60*time.Millisecond) {
		done, seen := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("%s: not within %v; last seen: %s", what, patience, seen)
		}
		time.Sleep(pause)
	}
}

// idle is part of the status of an image that has all that there is.
func (w *world) idle() string {
	if w.journal {
		return `"entries_behind_primary":0`
	}
	return `"replay_state":"idle"`
}

// synced waits until the newest mirror snapshot of from is complete on to, under
// the same name or the one given, or all of its journal is replayed there, and
// compares.
func (w *world) synced(from, to *site, spec string, toSpec ...string) {
	w.Helper()
	there := append(toSpec, spec)[0]
	if w.journal {
		w.played(from, to, spec, there)
		w.equal(from, spec, to, there)
		return
	}
	primary := from.open(spec, rbd.OpenOptions{ReadOnly: true})
	newest := snapshots.Newest(primary)
	require.NotNil(w, newest)
	require.NoError(w, primary.Close(w.ctx))
	w.eventually(fmt.Sprintf("%s synced to %s", spec, to.name), func() (bool, string) {
		img, err := rbd.Open(w.ctx, to.io(there), base(there), rbd.OpenOptions{ReadOnly: true})
		if err != nil {
			return false, err.Error()
		}
		defer img.Close(w.ctx)
		s := snapshots.Newest(img)
		if s == nil {
			return false, "no mirror snapshot"
		}
		return s.Namespace.Complete && s.Namespace.PrimarySnapID == newest.ID, fmt.Sprintf("%+v, want %d", s.Namespace, newest.ID)
	})
	w.equal(from, spec, to, there)
}

// equal compares the heads and all user snapshots, byte for byte. Points of a first
// copy may be left on a.
func (w *world) equal(a *site, specA string, b *site, specB string) {
	w.Helper()
	x, y := a.open(specA, rbd.OpenOptions{ReadOnly: true}), b.open(specB, rbd.OpenOptions{ReadOnly: true})
	defer x.Close(w.ctx)
	defer y.Close(w.ctx)
	names := func(img *rbd.Image) (out []string) {
		for _, s := range img.Snapshots() {
			if s.Namespace.Type == rbd.SnapUser && (img == y || !syncPoint(s)) {
				out = append(out, fmt.Sprintf("%s protected:%v size:%d", s.Name, s.Protected(), s.Size))
			}
		}
		return out
	}
	require.Equal(w, names(x), names(y), "user snapshots of %s", specA)
	require.Equal(w, x.Size(), y.Size(), "size of %s", specA)
	theirs, err := x.Flags(rbd.NoSnap)
	require.NoError(w, err)
	ours, err := y.Flags(rbd.NoSnap)
	require.NoError(w, err)
	require.Equal(w, theirs, ours, "flags of %s", specA)
	w.same(w.content(x, rbd.NoSnap), w.content(y, rbd.NoSnap), specA)
	for _, s := range x.Snapshots() {
		if s.Namespace.Type == rbd.SnapUser && !syncPoint(s) {
			theirs, _ := y.UserSnapshot(s.Name)
			w.same(w.content(x, s.ID), w.content(y, theirs.ID), specA+"@"+s.Name)
		}
	}
}

// syncPoint reports whether a snapshot is one that a daemon copies from.
func syncPoint(s rbd.Snapshot) bool { return strings.HasPrefix(s.Name, ".rbd-mirror.") }

// same compares contents, and says in few words how they differ.
func (w *world) same(a, b, what string) {
	w.Helper()
	if a == b {
		return
	}
	require.Equal(w, len(a), len(b), "length of %s", what)
	first, last, n := -1, 0, 0
	for i := range len(a) {
		if a[i] != b[i] {
			if n++; first < 0 {
				first = i
			}
			last = i
		}
	}
	w.Fatalf("content of %s: %d bytes differ from %d to %d: %x and %x at the first", what, n, first, last, a[first], b[first])
}

// content returns an image's bytes as text, which compares fast and prints short.
func (w *world) content(img *rbd.Image, snap uint64) string {
	w.Helper()
	size, err := img.SizeAt(snap)
	require.NoError(w, err)
	var b bytes.Buffer
	d, err := img.ReadSnap(w.ctx, snap, 0, size)
	require.NoError(w, err)
	for p := range d.Parts() {
		b.Write(p)
	}
	return b.String()
}

var stateNames = map[uint8]string{
	wire.MirrorStatusUnknown: "unknown", wire.MirrorStatusError: "error", wire.MirrorStatusSyncing: "syncing",
	wire.MirrorStatusStartingReplay: "starting_replay", wire.MirrorStatusReplaying: "replaying", wire.MirrorStatusStopped: "stopped",
}

// status returns an image's local status as `rbd mirror image status` shows it.
func (s *site) status(io *rados.IoCtx, gid string) (state, description string) {
	st, err := meta.Status(s.w.ctx, io, gid)
	if err != nil || !st.LocalValid {
		return "down+unknown", fmt.Sprint(err)
	}
	up := "down+"
	if st.Local.Up {
		up = "up+"
	}
	return up + stateNames[st.Local.State], st.Local.Description
}

// awaitStatus waits until an image's status at a site is want, with part in its
// description.
func (s *site) awaitStatus(spec, want, part string) {
	s.w.Helper()
	s.w.eventually(fmt.Sprintf("status %s of %s on %s", want, spec, s.name), func() (bool, string) {
		id, err := rbd.LookupID(s.w.ctx, s.io(spec), base(spec))
		if err != nil {
			return false, err.Error()
		}
		e, err := meta.Image(s.w.ctx, s.io(spec), id)
		if err != nil {
			return false, err.Error()
		}
		state, description := s.status(s.io(spec), e.GlobalID)
		return state == want && strings.Contains(description, part), state + " " + description
	})
}

// awaitGone waits until an image is on a site no more, nor in its trash.
func (s *site) awaitGone(spec string) {
	s.w.Helper()
	s.w.eventually(spec+" gone from "+s.name, func() (bool, string) {
		_, err := rbd.LookupID(s.w.ctx, s.io(spec), base(spec))
		if !errors.Is(err, rados.ErrNotFound) {
			return false, fmt.Sprint("still there: ", err)
		}
		trash, err := rbd.TrashList(s.w.ctx, s.io(spec))
		return len(trash) == 0, fmt.Sprintf("trash %v %v", trash, err)
	})
}

// clean checks that nothing is left of images that are mirrored no more, nor of
// daemons that ended, nor on the blocklist.
func (w *world) clean(specs ...string) {
	w.Helper()
	ofImages := []string{"image_", "global_", "status_global_", "remote_status_", "image_map_"}
	for _, s := range []*site{w.a, w.b} {
		w.eventually("no trace of images on "+s.name, func() (bool, string) {
			left := s.left(ofImages, specs...)
			return len(left) == 0, fmt.Sprint(left)
		})
	}
	for _, s := range []*site{w.a, w.b} {
		if s.stop != nil {
			s.stop()
		}
	}
	for _, s := range []*site{w.a, w.b} {
		require.Empty(w, s.left(append(ofImages, "instance_"), specs...), "left on %s", s.name)
		require.NoError(w, s.client.LatestOSDMap(w.ctx))
		require.Empty(w, s.client.OSDMap().OSDOnly.Blocklist, "blocklist of %s", s.name)
	}
}

// left returns the keys with one of the prefixes that the mirroring objects have, in
// the namespaces of specs and in the default one.
func (s *site) left(prefixes []string, specs ...string) (keys []string) {
	s.w.Helper()
	for _, spec := range append(specs, pool+"/x") {
		for _, oid := range []string{meta.Mirroring, meta.Leader} {
			op := rados.NewOp()
			all := op.OmapGetKeys("", 1000)
			if err := s.io(spec).Operate(s.w.ctx, oid, op); errors.Is(err, rados.ErrNotFound) {
				continue
			} else {
				require.NoError(s.w, err)
			}
			for _, k := range all.Keys {
				if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
					keys = append(keys, oid+":"+k)
				}
			}
		}
	}
	return keys
}

// mirrorSnaps returns how many mirror snapshots an image has.
func (s *site) mirrorSnaps(spec string) int {
	s.w.Helper()
	img := s.open(spec, rbd.OpenOptions{ReadOnly: true})
	defer img.Close(s.w.ctx)
	return len(snapshots.Mirror(img))
}
