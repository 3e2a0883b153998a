package rbdcmd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// metaHandlers are the commands that change what is said about an image: its
// metadata, features and object map.
func metaHandlers() map[string]handler {
	return map[string]handler{
		"feature disable":    func(ctx context.Context, c *call) error { return feature(ctx, c, false) },
		"feature enable":     func(ctx context.Context, c *call) error { return feature(ctx, c, true) },
		"image-meta get":     metaGet,
		"image-meta list":    metaList,
		"image-meta remove":  metaRemove,
		"image-meta set":     metaSet,
		"object-map check":   objectMapCheck,
		"object-map rebuild": objectMapRebuild,
		"watch":              watch,
	}
}

// metaArgs reads an image and the arguments after it, which have names.
func (c *call) metaArgs(names ...string) (spec, []string, error) {
	s, rest, err := specArg{}.take(c.Invocation)
	if err != nil {
		return s, nil, err
	}
	for i, name := range names {
		if i >= len(rest) || rest[i] == "" {
			return s, nil, invalidf("rbd: %s was not specified", name)
		}
	}
	if len(rest) > len(names) {
		return s, nil, &cli.UsageError{Code: exitGeneral, Msg: "rbd: too many arguments"}
	}
	return s, rest, nil
}

func metaGet(ctx context.Context, c *call) error {
	s, args, err := c.metaArgs("metadata key")
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{ReadOnly: true, SkipParent: true}, func(img *rbd.Image) error {
		value, err := img.MetadataGet(ctx, args[0])
		if err != nil {
			c.warnf("failed to get metadata %s of image : %s", args[0], errnoText(err))
			return failed(err, "rbd: getting metadata failed")
		}
		c.printf("%s\n", value)
		return nil
	})
}

func metaSet(ctx context.Context, c *call) error {
	s, args, err := c.metaArgs("metadata key", "metadata value")
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		if key, ok := strings.CutPrefix(args[0], configPrefix); ok && c.knownOption(key) != nil {
			c.warnf("failed to set metadata %s of image : %s", args[0], errnoText(rados.ErrInvalid))
			return failed(rados.ErrInvalid, "rbd: setting metadata failed")
		}
		err := metadataWritable(ctx, img)
		if err == nil {
			err = img.MetadataSet(ctx, args[0], []byte(args[1]))
		}
		if err != nil {
			c.warnf("failed to set metadata %s of image : %s", args[0], errnoText(err))
			return failed(err, "rbd: setting metadata failed")
		}
		return nil
	})
}

// metadataWritable refuses an image whose metadata rbd would not change: a replica,
// and one that somebody locked by hand.
func metadataWritable(ctx context.Context, img *rbd.Image) error {
	if img.Features()&rbd.FeatureNonPrimary != 0 {
		return rados.ErrReadOnly
	}
	if img.Features()&rbd.FeatureExclusiveLock == 0 {
		return nil
	}
	info, err := imageLocks(ctx, img)
	if err != nil {
		return err
	}
	for _, l := range info.Lockers {
		if !strings.HasPrefix(l.Cookie, "auto ") {
			return rados.ErrReadOnly
		}
	}
	return nil
}

func metaRemove(ctx context.Context, c *call) error {
	s, args, err := c.metaArgs("metadata key")
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		_, err := img.MetadataGet(ctx, args[0])
		if img.Features()&rbd.FeatureNonPrimary != 0 {
			err = nil // it is refused whatever is there
		}
		if err == nil {
			if err = metadataWritable(ctx, img); err == nil {
				err = img.MetadataRemove(ctx, args[0])
			}
			if err != nil && !errors.Is(err, rados.ErrNotFound) {
				c.warnf("failed to remove metadata %s of image : %s", args[0], errnoText(err))
			}
		}
		if err != nil {
			if errors.Is(err, rados.ErrNotFound) {
				c.warnf("rbd: no existing metadata key %s of image : %s", args[0], errnoText(err))
			}
			return failed(err, "rbd: removing metadata failed")
		}
		return nil
	})
}

func metaList(ctx context.Context, c *call) error {
	return c.showImage(ctx, func(img *rbd.Image, f *cli.Formatter) error {
		pairs, err := img.Metadata(ctx)
		if err != nil {
			return failed(err, "failed to list metadata of image %s", img.Name())
		}
		keys := slices.Sorted(maps.Keys(pairs))
		if f != nil {
			if len(keys) == 0 {
				return nil
			}
			f.OpenObject("metadatas")
			for _, k := range keys {
				f.String(k, string(pairs[k]))
			}
			return f.Flush(c.std.Out)
		}
		c.printMeta(keys, pairs)
		return nil
	})
}

func (c *call) printMeta(keys []string, pairs map[string][]byte) {
	switch len(keys) {
	case 0:
		c.printf("There are 0 metadata on this image.\n")
		return
	case 1:
		c.printf("There is 1 metadatum on this image:\n\n")
	default:
		c.printf("There are %d metadata on this image:\n\n", len(keys))
	}
	var t cli.TextTable
	t.Column("Key", cli.Left, cli.Left)
	t.Column("Value", cli.Left, cli.Left)
	for _, k := range keys {
		t.Row(k, string(pairs[k]))
	}
	t.Write(c.std.Out)
}

func feature(ctx context.Context, c *call, enable bool) error {
	var plan rbd.CreateOptions
	if enable {
		if err := c.journalOptions(&plan); err != nil {
			return err
		}
	}
	change := func(img *rbd.Image, mask uint64) error {
		if !enable {
			return img.DisableFeatures(ctx, mask)
		}
		return img.EnableFeaturesAs(ctx, mask, plan)
	}
	s, rest, err := specArg{}.take(c.Invocation)
	if err != nil {
		return err
	}
	var mask uint64
	for _, text := range rest {
		m, err := rbd.ParseFeatures(text)
		if err != nil {
			return &cli.UsageError{Code: exitGeneral, Msg: "rbd: the argument for option is invalid"}
		}
		mask |= m
	}
	if mask == 0 {
		return invalidf("rbd: at least one feature name must be specified")
	}
	if enable {
		var journal rbd.CreateOptions
		if err := c.journalOptions(&journal); err != nil {
			return err
		}
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		if err := change(img, withCompanion(mask, img.Features(), enable)); err != nil {
			return failed(err, "rbd: failed to update image features")
		}
		return nil
	})
}

// withCompanion adds the other of object-map and fast-diff, which come and go
// together, to a change of one of them.
func withCompanion(mask, have uint64, enable bool) uint64 {
	const both = rbd.FeatureObjectMap | rbd.FeatureFastDiff
	switch {
	case mask&both == 0:
	case enable:
		mask |= both &^ have
	default:
		mask |= both & have
	}
	return mask
}

func objectMapCheck(ctx context.Context, c *call) error {
	s, err := specArg{snap: snapOptional}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		p, done := c.progress("Object Map Check")
		_, err := img.CheckObjectMap(ctx, p)
		done(err)
		if err != nil {
			return failed(err, "rbd: checking object map failed")
		}
		return nil
	})
}

func objectMapRebuild(ctx context.Context, c *call) error {
	s, err := specArg{snap: snapOptional}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{}, func(img *rbd.Image) error {
		p, done := c.progress("Object Map Rebuild")
		err := img.RebuildObjectMap(ctx, p)
		done(err)
		if err != nil {
			return failed(err, "rbd: rebuilding object map failed")
		}
		return nil
	})
}

// watch is `rbd watch`: it prints a line for every notification until it is
// interrupted.
func watch(ctx context.Context, c *call) error {
	s, err := specArg{}.read(c.Invocation)
	if err != nil {
		return err
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{ReadOnly: true, SkipParent: true}, func(img *rbd.Image) error {
		return c.watchHeader(ctx, img)
	})
}
