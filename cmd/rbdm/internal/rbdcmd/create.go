package rbdcmd

import (
	"context"
	"math"
	"strconv"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
	"github.com/rbdm/rbdm/rbd/wire"
)

const (
	exitCrossDevice = 18
	exitDomain      = 33
	exitRange       = 34
)

// minJournalObject and maxJournalObject bound the size in bytes of a journal's
// objects.
const (
	minJournalObject = 4 << 10
	maxJournalObject = 64 << 20
)

// singleClient are the features that an image for several writers cannot have.
const singleClient = rbd.FeatureExclusiveLock | rbd.FeatureObjectMap | rbd.FeatureFastDiff | rbd.FeatureJournaling

// createOptions reads the options that say how a new image is made.
func (c *call) createOptions() (rbd.CreateOptions, error) {
	var o rbd.CreateOptions
	if err := c.journalOptions(&o); err != nil {
		return o, err
	}
	if err := c.objectOptions(&o); err != nil {
		return o, err
	}
	for _, text := range c.All("image-feature") {
		if _, err := strconv.ParseUint(text, 10, 64); err == nil {
			return o, badOption("image-feature")
		}
		mask, err := rbd.ParseFeatures(text)
		if err != nil {
			return o, badOption("image-feature")
		}
		o.Features |= mask
		o.HasFeatures = true
	}
	if c.badSplayWidth() && o.Features&rbd.FeatureJournaling != 0 {
		return o, failed(rados.ErrInvalid, "rbd: create error")
	}
	if o.HasFeatures && o.Features&rbd.FeatureObjectMap == 0 {
		o.Features &^= rbd.FeatureFastDiff // a part of the object map
	}
	if c.Has("image-shared") {
		if o.HasFeatures {
			o.Features &^= singleClient
		} else {
			o.FeaturesClear = singleClient
		}
	}
	o.DataPool = c.String("data-pool")
	return o, c.mirrorMode(&o)
}

// badSplayWidth reports whether a journal cannot have the width that is asked for.
func (c *call) badSplayWidth() bool {
	n, err := strconv.ParseUint(c.String("journal-splay-width"), 10, 64)
	return err == nil && (n == 0 || n > math.MaxUint8)
}

// journalOptions reads how the journal is to lie.
func (c *call) journalOptions(o *rbd.CreateOptions) error {
	o.JournalPool = c.String("journal-pool")
	if text := c.String("journal-splay-width"); c.Has("journal-splay-width") {
		n, err := strconv.ParseUint(text, 10, 64)
		switch {
		case err != nil:
			return &cli.UsageError{Code: exitGeneral, Msg: "rbd: the argument ('" + text + "') for option '--journal-splay-width' is invalid"}
		case n == 0 || n > math.MaxUint8:
			o.JournalSplayWidth = 0 // only an image with a journal minds: badSplayWidth
		default:
			o.JournalSplayWidth = uint8(n)
		}
	}
	if c.Has("journal-object-size") {
		n, err := cli.ParseSize(c.String("journal-object-size"), 1)
		if err != nil || n < minJournalObject || n > maxJournalObject {
			return badOption("journal-object-size")
		}
		o.JournalOrder = orderOf(n)
	}
	return nil
}

// objectOptions reads the layout: the objects' size and the striping.
func (c *call) objectOptions(o *rbd.CreateOptions) error {
	var err error
	if text := c.String("order"); c.Has("order") {
		n, err := strconv.ParseUint(text, 10, 8)
		if err != nil || n < 12 || n > 25 {
			return badOption("order")
		}
		c.deprecated("--order", "--object-size")
		o.Order = uint8(n)
	} else if c.Has("object-size") {
		n, err := cli.ParseSize(c.String("object-size"), 1)
		if err != nil {
			return badOption("object-size")
		}
		if o.Order = orderOf(n); n == 1 {
			o.Order = 0 // its order of 0 stands for the default, to rbd too
		}
	}
	if c.Has("stripe-unit") {
		if o.StripeUnit, err = cli.ParseSize(c.String("stripe-unit"), 1); err != nil {
			return badOption("stripe-unit")
		}
	}
	if c.Has("stripe-count") {
		if o.StripeCount, err = strconv.ParseUint(c.String("stripe-count"), 10, 64); err != nil {
			return badOption("stripe-count")
		}
	}
	return nil
}

// orderOf returns the nearest power of two, at least 1 so that it is not taken
// for the default.
func orderOf(size uint64) uint8 {
	if size < 2 {
		return 1
	}
	return uint8(math.Round(math.Log2(float64(size))))
}

// size reads --size, which counts in MiB without a unit.
func (c *call) size() (n uint64, given bool, err error) {
	if !c.Has("size") {
		return 0, false, nil
	}
	if n, err = cli.ParseSize(c.String("size"), 1<<20); err != nil {
		return 0, true, badOption("size")
	}
	return n, true, nil
}

var errNoSize = invalidf("rbd: must specify --size <M/G/T>")

// create is `rbd create`.
func create(ctx context.Context, c *call) error {
	size, sized, err := c.size()
	if err != nil {
		return err
	}
	o, err := c.createOptions()
	if err != nil {
		return err
	}
	c.newFormat()
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	if text := c.String("image-format"); c.Has("image-format") && text != "2" {
		if text != "1" {
			return badOption("image-format")
		}
		c.warnf("rbd: image format 1 is deprecated")
		return failed(rados.ErrInvalid, "rbd: create error")
	}
	if !sized {
		return errNoSize
	}
	if o.Order != 0 && (o.Order < 12 || o.Order > 25) {
		return failed(rados.Errno(exitDomain), "rbd: create error")
	}
	io, err := c.pool(ctx, s)
	if err != nil {
		return err
	}
	if _, err := rbd.Create(ctx, io, s.Image, size, o); err != nil {
		return failed(err, "rbd: create error")
	}
	if c.Has("thick-provision") {
		if err := thickProvision(ctx, c, io, s.Image); err != nil {
			return failed(err, "rbd: image created but error encountered during thick provisioning")
		}
	}
	return nil
}

// newFormat says that --new-format is an old word.
func (c *call) newFormat() {
	if c.Has("new-format") {
		c.deprecated("--new-format", "--image-format 2")
	}
}

// mirrorMode reads --mirror-image-mode: how the new image is mirrored from the
// beginning. In journal mode it gets a journal.
func (c *call) mirrorMode(o *rbd.CreateOptions) error {
	mode := wire.MirrorImageSnapshot
	switch c.String("mirror-image-mode") {
	case "":
		return nil
	case "snapshot":
	case "journal":
		mode = wire.MirrorImageJournal
		o.FeaturesSet |= rbd.FeatureExclusiveLock | rbd.FeatureJournaling
	default:
		return badOption("mirror-image-mode")
	}
	o.Mirror = func(ctx context.Context, io *rados.IoCtx, id string) error {
		return ops.EnableNewImage(ctx, io, id, mode)
	}
	return nil
}

// thickProvision writes zeros to all of the image, so that its space is taken.
func thickProvision(ctx context.Context, c *call, io *rados.IoCtx, name string) (err error) {
	img, err := openImage(ctx, io, name, rbd.OpenOptions{})
	if err != nil {
		return err
	}
	defer closeImage(img, &err)
	p, done := c.progressToEnd("Thick provisioning")
	zeros := make([]byte, 4<<20)
	for off := uint64(0); off < img.Size(); {
		n := min(uint64(len(zeros)), img.Size()-off)
		if _, err := img.WriteAt(ctx, zeros[:n], off); err != nil {
			done(err)
			return err
		}
		off += n
		if p != nil {
			p(off, img.Size())
		}
	}
	done(nil)
	return nil
}

// clone is `rbd clone`.
func clone(ctx context.Context, c *call) (err error) {
	o, err := c.createOptions()
	if err != nil {
		return err
	}
	from := specArg{snap: snapRequired}
	snapID, byID, err := c.number("snap-id")
	if err != nil {
		return err
	}
	if byID {
		from.snap = snapOptional
	}
	src, rest, err := from.take(c.Invocation)
	if err != nil {
		return err
	}
	dst, err := specArg{arg: len(c.Args) - len(rest), dest: true}.read(c.Invocation)
	if err != nil {
		return err
	}
	if byID && src.Snap != "" {
		return invalidf("rbd: trying to access snapshot using both name and id.")
	}
	io, err := c.pool(ctx, src)
	if err != nil {
		return err
	}
	dstIO, err := c.pool(ctx, dst)
	if err != nil {
		return err
	}
	if o.Order != 0 && (o.Order < 12 || o.Order > 25) {
		return failed(rados.Errno(exitDomain), "rbd: clone error")
	}
	if o.HasFeatures && o.Features&rbd.FeatureLayering == 0 {
		return failed(rados.ErrNotImplemented, "rbd: clone error")
	}
	parent, err := rbd.Open(ctx, io, src.Image, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
	if err != nil {
		return failed(err, "rbd: clone error")
	}
	defer closeImage(parent, &err)
	if !byID {
		snap, ok := parent.UserSnapshot(src.Snap)
		if !ok {
			return failed(rados.ErrNotFound, "rbd: clone error")
		}
		snapID = snap.ID
	}
	if o.Order != 0 && o.StripeUnit == 0 && parent.Layout().StripeUnit > 1<<o.Order {
		return failed(rados.ErrInvalid, "rbd: clone error") // the parent's striping is inherited
	}
	if io.Namespace() != dstIO.Namespace() {
		if v, err := rbd.CloneFormat(ctx, io.Client()); err == nil && v == 1 {
			return &cli.UsageError{Code: exitCrossDevice, Msg: "rbd: clone v2 required for cross-namespace clones."}
		}
	}
	if _, err := rbd.Clone(ctx, io, parent.ID(), snapID, dstIO, dst.Image, o); err != nil {
		return failed(err, "rbd: clone error")
	}
	return nil
}

// number reads an option that is a number.
func (c *call) number(name string) (n uint64, given bool, err error) {
	if !c.Has(name) {
		return 0, false, nil
	}
	if n, err = strconv.ParseUint(c.String(name), 10, 64); err != nil {
		return 0, true, badOption(name)
	}
	return n, true, nil
}
