package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

var errNameAndID = invalidf("rbd: trying to access image using both name and id. ")

// imageAndID reads the specification of commands that also take --image-id, which
// stands for the image's name.
func (c *call) imageAndID(a specArg) (spec, string, error) {
	id := c.String("image-id")
	a.noImage = id != ""
	s, err := a.read(c.Invocation)
	if err == nil && id != "" && s.Image != "" {
		err = errNameAndID
	}
	return s, id, err
}

// imageInfo is what `rbd info` prints.
type imageInfo struct {
	img      *rbd.Image
	name     string
	snap     string
	dataPool string
	flags    uint64
	group    string
	limit    uint64
	parent   *parentNames
	mirror   *mirrorInfo
}

// info is `rbd info`.
func info(ctx context.Context, c *call) (err error) {
	s, id, err := c.imageAndID(specArg{snap: snapOptional})
	if err != nil {
		return err
	}
	f, err := c.formatter()
	if err != nil {
		return err
	}
	img, err := c.imageOrID(ctx, s, id, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	i, err := readInfo(ctx, img, s)
	if err != nil {
		return failed(err, "rbd: info")
	}
	if f == nil {
		c.printf("%s", i.plain())
		return nil
	}
	i.object(f)
	return f.Flush(c.std.Out)
}

func readInfo(ctx context.Context, img *rbd.Image, s spec) (*imageInfo, error) {
	i := &imageInfo{img: img, name: s.Image, snap: s.Snap}
	var err error
	if i.name == "" {
		if i.name, err = nameByID(ctx, img); err != nil {
			return nil, err
		}
	}
	if pool := img.Layout().DataPool; pool >= 0 && pool != img.IoCtx().Pool() {
		if i.dataPool, err = img.IoCtx().Client().PoolName(ctx, pool); err != nil {
			i.dataPool = fmt.Sprintf("<missing data pool %d>", pool)
		}
	}
	if i.flags, err = img.Flags(img.SnapID()); err != nil {
		return nil, err
	}
	if i.limit, err = img.SnapshotLimit(ctx); err != nil {
		return nil, err
	}
	if i.group, err = imageGroup(ctx, img); err != nil {
		return nil, err
	}
	if i.parent, err = fullParent(ctx, img.IoCtx(), img.Parent()); err != nil {
		return nil, err
	}
	if i.mirror, err = readMirrorInfo(ctx, img); err != nil {
		return nil, err
	}
	return i, nil
}

// nameByID returns the name of an image that was opened by its id, which may lie
// in the trash.
func nameByID(ctx context.Context, img *rbd.Image) (string, error) {
	name, err := rbd.LookupName(ctx, img.IoCtx(), img.ID())
	if !errors.Is(err, rados.ErrNotFound) {
		return name, err
	}
	e, err := rbd.TrashGet(ctx, img.IoCtx(), img.ID())
	if errors.Is(err, rados.ErrNotFound) {
		return "", nil
	}
	return e.Name, err
}

func (i *imageInfo) plain() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\t"+format+"\n", args...) }
	img, layout := i.img, i.img.Layout()
	if i.name != "" {
		fmt.Fprintf(&b, "rbd image '%s':\n", i.name)
	} else {
		fmt.Fprintf(&b, "rbd image '%s':\n", img.ID())
	}
	line("size %s in %d objects", cli.ByteSize(img.Size()), img.Objects())
	line("order %d (%s objects)", layout.Order, cli.ByteSize(1<<layout.Order))
	line("snapshot_count: %d", len(img.Snapshots()))
	line("id: %s", img.ID())
	if i.dataPool != "" {
		line("data_pool: %s", i.dataPool)
	}
	line("block_name_prefix: %s", layout.ObjectPrefix)
	line("format: 2")
	line("features: %s", strings.Join(rbd.FeatureNames(img.Features()), ", "))
	line("op_features: %s", strings.Join(maskNames(img.OpFeatures(), opFeatureNames), ", "))
	line("flags: %s", strings.Join(maskNames(i.flags, flagNames), ", "))
	if i.group != "" {
		line("group: %s", i.group)
	}
	for _, t := range i.times() {
		line("%s: %s", t.name, t.text)
	}
	if i.snap != "" {
		line("protected: %s", map[bool]string{true: "True", false: "False"}[i.protected()])
	}
	if i.limit < math.MaxUint64 {
		line("snapshot_limit: %d", i.limit)
	}
	if p := i.parent; p != nil {
		trash := ""
		if p.trash {
			trash = " (trash " + p.id + ")"
		}
		line("parent: %s%s", p, trash)
		line("overlap: %s", cli.ByteSize(img.Parent().Overlap))
	}
	if img.Features()&rbd.FeatureStriping != 0 {
		line("stripe unit: %s", cli.ByteSize(layout.StripeUnit))
		line("stripe count: %d", layout.StripeCount)
	}
	if img.Features()&rbd.FeatureJournaling != 0 {
		line("journal: %s", img.ID())
	}
	if m := i.mirror; m != nil {
		line("mirroring state: %s", m.state())
		if m.State != wire.MirrorImageDisabled {
			line("mirroring mode: %s", m.mode())
			line("mirroring global id: %s", m.GlobalID)
			line("mirroring primary: %t", m.primary)
		}
	}
	return b.String()
}

func (i *imageInfo) object(f *cli.Formatter) {
	img, layout := i.img, i.img.Layout()
	f.OpenObject("image")
	if i.name != "" {
		f.String("name", i.name)
	}
	f.String("id", img.ID())
	f.Uint("size", img.Size())
	f.Uint("objects", img.Objects())
	f.Int("order", int64(layout.Order))
	f.Uint("object_size", 1<<layout.Order)
	f.Int("snapshot_count", int64(len(img.Snapshots())))
	if i.dataPool != "" {
		f.String("data_pool", i.dataPool)
	}
	f.String("block_name_prefix", layout.ObjectPrefix)
	f.Int("format", 2)
	stringArray(f, "features", "feature", rbd.FeatureNames(img.Features()))
	stringArray(f, "op_features", "op_feature", maskNames(img.OpFeatures(), opFeatureNames))
	stringArray(f, "flags", "flag", maskNames(i.flags, flagNames))
	if i.group != "" {
		f.String("group", i.group)
	}
	for _, t := range i.times() {
		f.String(t.name, t.text)
	}
	if i.snap != "" {
		f.String("protected", fmt.Sprint(i.protected()))
	}
	if i.limit < math.MaxUint64 {
		f.Uint("snapshot_limit", i.limit)
	}
	if i.parent != nil {
		i.parent.object(f)
		f.Bool("trash", i.parent.trash)
		f.Uint("overlap", img.Parent().Overlap)
		f.Close()
	}
	if img.Features()&rbd.FeatureStriping != 0 {
		f.Uint("stripe_unit", layout.StripeUnit)
		f.Uint("stripe_count", layout.StripeCount)
	}
	if img.Features()&rbd.FeatureJournaling != 0 {
		f.String("journal", img.ID())
	}
	if m := i.mirror; m != nil {
		f.OpenObject("mirroring")
		f.String("mode", m.mode())
		f.String("state", m.state())
		if m.State != wire.MirrorImageDisabled {
			f.String("global_id", m.GlobalID)
			f.Bool("primary", m.primary)
		}
		f.Close()
	}
}

func (i *imageInfo) protected() bool {
	s, _ := i.img.Snapshot(i.img.SnapID())
	return s.Protected()
}

type namedTime struct{ name, text string }

func (i *imageInfo) times() []namedTime {
	var out []namedTime
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"create_timestamp", i.img.CreateTime()}, {"access_timestamp", i.img.AccessTime()}, {"modify_timestamp", i.img.ModifyTime()}} {
		if text := ctime(t.at); text != "" {
			out = append(out, namedTime{t.name, text})
		}
	}
	return out
}

// ctime prints a time as C's ctime does, in local time; none as nothing.
func ctime(t time.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return ""
	}
	return t.Local().Format(time.ANSIC)
}

var (
	opFeatureNames = []string{"clone-parent", "clone-child", "group", "snap-trash"}
	flagNames      = []string{"object map invalid", "fast diff invalid"}
)

// maskNames returns the names of the bits of mask that have one.
func maskNames(mask uint64, names []string) []string {
	var out []string
	for i, name := range names {
		if mask&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func stringArray(f *cli.Formatter, name, element string, values []string) {
	f.OpenArray(name)
	for _, v := range values {
		f.String(element, v)
	}
	f.Close()
}

const rbdClass = "rbd"

// imageGroup returns the group that the image is in as POOL/[NAMESPACE/]GROUP.
func imageGroup(ctx context.Context, img *rbd.Image) (string, error) {
	if img.OpFeatures()&rbd.OpFeatureGroup == 0 {
		return "", nil
	}
	data, err := img.IoCtx().Exec(ctx, img.HeaderOID(), rbdClass, wire.MethodImageGroupGet, nil)
	if err != nil {
		return "", err
	}
	var g wire.GroupSpec
	r := denc.NewReader(data)
	g.Decode(r)
	if err := r.Err(); err != nil || g.ID == "" {
		return "", err
	}
	io := img.IoCtx().WithPool(g.Pool)
	pool, err := io.Client().PoolName(ctx, g.Pool)
	if err != nil {
		return "", err
	}
	name, err := groupName(ctx, io, g.ID)
	return spec{Pool: pool, Namespace: io.Namespace(), Image: name}.String(), err
}

// groupName returns the name of the group with the id.
func groupName(ctx context.Context, io *rados.IoCtx, id string) (string, error) {
	pairs, err := io.OmapGetAll(ctx, "rbd_group_directory", "id_"+id)
	if err != nil {
		return "", err
	}
	value, ok := pairs["id_"+id]
	if !ok {
		return "", fmt.Errorf("group %s: %w", id, rados.ErrNotFound)
	}
	r := denc.NewReader(value)
	name := r.String()
	return name, r.Err()
}

// mirrorInfo is what an image is for mirroring.
type mirrorInfo struct {
	wire.MirrorImage
	primary bool
}

func (m *mirrorInfo) state() string {
	switch m.State {
	case wire.MirrorImageDisabling:
		return "disabling"
	case wire.MirrorImageEnabled:
		return "enabled"
	case wire.MirrorImageDisabled:
		return "disabled"
	case wire.MirrorImageCreating:
		return "creating"
	}
	return "unknown"
}

func (m *mirrorInfo) mode() string {
	switch m.Mode {
	case wire.MirrorImageJournal:
		return "journal"
	case wire.MirrorImageSnapshot:
		return "snapshot"
	}
	return "unknown"
}

// readMirrorInfo reads it; nil for an image that mirroring does not concern.
func readMirrorInfo(ctx context.Context, img *rbd.Image) (*mirrorInfo, error) {
	m := &mirrorInfo{MirrorImage: wire.MirrorImage{State: wire.MirrorImageDisabled}}
	data, err := img.IoCtx().Exec(ctx, "rbd_mirroring", rbdClass, wire.MethodMirrorImageGet, denc.AppendString(nil, img.ID()))
	switch {
	case errors.Is(err, rados.ErrNotFound) && img.Features()&rbd.FeatureJournaling == 0:
		return nil, nil
	case errors.Is(err, rados.ErrNotFound):
		return m, nil
	case err != nil:
		return nil, err
	}
	r := denc.NewReader(data)
	m.Decode(r)
	if err := r.Err(); err != nil {
		return nil, err
	}
	switch m.Mode {
	case wire.MirrorImageJournal:
		_, owner, err := rbd.JournalOwner(ctx, img.IoCtx(), img.ID())
		if err != nil && !errors.Is(err, rados.ErrNotFound) {
			return nil, err
		}
		m.primary = err == nil && owner.MirrorUUID == jwire.LocalOwner
	case wire.MirrorImageSnapshot:
		for _, s := range img.Snapshots() {
			if s.Namespace.Type == rbd.SnapMirror {
				m.primary = s.Namespace.State == wire.MirrorSnapPrimary
			}
		}
	}
	return m, nil
}
