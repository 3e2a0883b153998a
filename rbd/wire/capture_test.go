//go:build interop && capture

package wire_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
	"github.com/rbdm/rbdm/rbd/wire"
)

// object is an object of testdata: its names and keys are quoted as in Go, its
// values are in hexadecimal digits.
type object struct {
	Name   string            `json:"name"`
	Data   string            `json:"data,omitempty"`
	Xattrs map[string]string `json:"xattrs,omitempty"`
	Omap   map[string]string `json:"omap,omitempty"`
}

// TestCaptureObjects renews testdata/RELEASE/objects.json of this package and of
// journal/wire and rados/cls/lock from the pool RBDM_POOL of the real cluster
// RBDM_CONF, whose release is RBDM_RELEASE. scripts/populate-pool fills the pool.
func TestCaptureObjects(t *testing.T) {
	path, pool, release := os.Getenv("RBDM_CONF"), os.Getenv("RBDM_POOL"), os.Getenv("RBDM_RELEASE")
	if path == "" || pool == "" || release == "" {
		t.Fatal("set RBDM_CONF, RBDM_POOL and RBDM_RELEASE")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	inv, _, err := conf.ParseArgs([]string{"-c", path}, os.Getenv, entity.AuthName{Type: entity.TypeClient, ID: "admin"})
	check(t, err)
	cfg, err := inv.Load()
	check(t, err)
	c, err := rados.Connect(ctx, cfg)
	check(t, err)
	defer c.Close()
	io, err := c.OpenPool(ctx, pool)
	check(t, err)
	storeStatuses(t, ctx, io)
	files := map[string][]object{}
	for info, err := range io.Objects(ctx) {
		check(t, err)
		switch {
		case strings.HasPrefix(info.Name, "rbd_data."):
			continue
		case strings.HasPrefix(info.Name, "journal"):
			files["../../journal/wire"] = append(files["../../journal/wire"], read(t, ctx, io, info.Name))
		default:
			o := read(t, ctx, io, info.Name)
			files["."] = append(files["."], o)
			if len(o.Xattrs) > 0 {
				files["../../rados/cls/lock"] = append(files["../../rados/cls/lock"], object{Name: o.Name, Xattrs: o.Xattrs})
			}
		}
	}
	for dir, objects := range files {
		slices.SortFunc(objects, func(a, b object) int { return strings.Compare(a.Name, b.Name) })
		p, err := json.MarshalIndent(objects, "", " ")
		check(t, err)
		dir = filepath.Join(dir, "testdata", release)
		check(t, os.MkdirAll(dir, 0o755))
		check(t, os.WriteFile(filepath.Join(dir, "objects.json"), append(p, '\n'), 0o644))
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// storeStatuses has the cluster store what only daemons ask for: statuses and an
// image map.
func storeStatuses(t *testing.T, ctx context.Context, io *rados.IoCtx) {
	out, err := io.Exec(ctx, "rbd_mirroring", wire.Class, wire.MethodMirrorImageList, denc.AppendU64(denc.AppendString(nil, ""), 9))
	check(t, err)
	for _, gid := range denc.Map(denc.NewReader(out), 8, (*denc.Reader).String, (*denc.Reader).String) {
		s := wire.MirrorSiteStatus{State: wire.MirrorStatusReplaying, Description: "replaying", Up: true}
		for _, site := range []string{"", "11111111-2222-3333-4444-555555555555"} {
			s.MirrorUUID = site
			check(t, io.ExecWrite(ctx, "rbd_mirroring", wire.Class, wire.MethodMirrorImageStatusSet, s.Append(denc.AppendString(nil, gid))))
		}
		m := wire.MirrorImageMap{InstanceID: "4193", Mapped: denc.Time{Sec: 5}, Data: []byte{1, 1, 4, 0, 0, 0, 0, 0, 0, 0}}
		check(t, io.ExecWrite(ctx, "rbd_mirror_leader", wire.Class, wire.MethodMirrorImageMapUpdate, m.Append(denc.AppendString(nil, gid))))
	}
}

func read(t *testing.T, ctx context.Context, io *rados.IoCtx, name string) object {
	op := rados.NewOp()
	data, attrs := op.Read(0, 0), op.GetXattrs()
	check(t, io.Operate(ctx, name, op))
	pairs, err := io.OmapGetAll(ctx, name, "")
	check(t, err)
	o := object{Name: name, Data: hex.EncodeToString(data.Bytes()), Xattrs: map[string]string{}, Omap: map[string]string{}}
	for k, v := range attrs.Values {
		o.Xattrs[quote(k)] = hex.EncodeToString(v)
	}
	for k, v := range pairs {
		o.Omap[quote(k)] = hex.EncodeToString(v)
	}
	return o
}

func quote(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
