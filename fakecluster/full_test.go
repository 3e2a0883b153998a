package fakecluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/fakecluster"
	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/rados"
)

func TestWritesOfAFullPoolWaitOrFail(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	cl := connect(t, c, "client.admin")
	io := open(t, cl, "rbd")
	write := func(ctx context.Context, object, p string) error {
		op := rados.NewOp()
		op.WriteFull(msgr2.NewData([]byte(p)))
		return io.Operate(ctx, object, op, rados.FullTry())
	}
	must(t, io.WriteFull(t.Context(), "old", []byte("some bytes")))
	quota := func(objects string) {
		admin2(t, cl, map[string]any{"prefix": "osd pool set-quota", "pool": "rbd", "field": "max_objects", "val": objects})
	}
	for _, x := range []struct {
		begin, end func()
		want       error
	}{
		{func() { c.SetFull(1, fakecluster.Full) }, func() { c.SetFull(1, fakecluster.BackfillFull) }, rados.ErrNoSpace},
		{func() { quota("1") }, func() { quota("0") }, rados.ErrQuota},
	} {
		x.begin()
		// Clients learn of it by the map; to know it, they need not write first.
		eventually(t, "requests fail", func() bool { return errors.Is(write(t.Context(), "new", "x"), x.want) })
		must(t, write(t.Context(), "old", "other byte")) // takes no space
		if err := write(t.Context(), "old", "more bytes than before"); !errors.Is(err, x.want) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := io.WriteFull(ctx, "waits", []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		done := make(chan error, 1)
		go func() { done <- io.WriteFull(t.Context(), "new", []byte("x")) }()
		x.end()
		must(t, <-done)
		must(t, io.Remove(t.Context(), "new"))
	}
}

// TestFullnessIsReported compares with what 16.2 and 20.2 print.
func TestFullnessIsReported(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"), fakecluster.OSDs(2))
	cl := connect(t, c, "client.admin")
	report := func(prefix string, args ...string) string {
		m := map[string]any{"prefix": prefix}
		for i := 0; i+1 < len(args); i += 2 {
			m[args[i]] = args[i+1]
		}
		out, _, err := cl.MonCommand(t.Context(), m, nil)
		must(t, err)
		return string(out)
	}
	for _, x := range []struct {
		how          fakecluster.Fullness
		health, dump []string
	}{
		{fakecluster.NearFull, []string{"HEALTH_WARN 1 nearfull osd(s); 1 pool(s) nearfull\n", "[WRN] OSD_NEARFULL: 1 nearfull osd(s)\n    osd.1 is near full\n", "[WRN] POOL_NEARFULL: 1 pool(s) nearfull\n    pool 'rbd' is nearfull\n"},
			[]string{"flags hashpspool,nearfull", " exists,nearfull,up "}},
		{fakecluster.BackfillFull, []string{"[WRN] OSD_BACKFILLFULL: 1 backfillfull osd(s)\n    osd.1 is backfill full\n", "[WRN] POOL_BACKFILLFULL: 1 pool(s) backfillfull\n    pool 'rbd' is backfillfull\n"},
			[]string{"flags hashpspool,backfillfull", " backfillfull,exists,up "}},
		{fakecluster.Full, []string{"HEALTH_ERR 1 full osd(s); 1 pool(s) full\n", "[ERR] OSD_FULL: 1 full osd(s)\n    osd.1 is full\n", "[WRN] POOL_FULL: 1 pool(s) full\n    pool 'rbd' is full (no space)\n"},
			[]string{"flags hashpspool,full", " exists,full,up "}},
		{fakecluster.NotFull, []string{"HEALTH_OK\n"}, []string{"flags hashpspool stripe_width"}},
	} {
		c.SetFull(1, x.how)
		health, dump := report("health", "detail", "detail"), report("osd dump")
		for _, want := range x.health {
			if !strings.Contains(health, want) {
				t.Errorf("%s lacks %s", health, want)
			}
		}
		for _, want := range x.dump {
			if !strings.Contains(dump, want) {
				t.Errorf("%s lacks %s", dump, want)
			}
		}
	}
}
