package rbd

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// configPrefix marks the metadata keys that override configuration options, of
// a pool (on rbd_info) and of an image (on its header).
const configPrefix = "conf_"

// ConfigValue is an option with its effective value and where that comes from:
// "config", "pool" or "image".
type ConfigValue struct{ Name, Value, Source string }

// settings are the options that hold for one image or pool.
type settings struct {
	client      *rados.Client
	pool, image map[string][]byte
}

// newSettings reads the overrides of a pool and, if headerOID is not empty, of
// an image. A pool or image without any is fine.
func newSettings(ctx context.Context, io *rados.IoCtx, headerOID string) (*settings, error) {
	s := &settings{client: io.Client()}
	var err error
	if s.pool, err = overrides(ctx, io.WithNamespace(""), infoName); err != nil {
		return nil, err
	}
	if headerOID != "" {
		s.image, err = overrides(ctx, io, headerOID)
	}
	return s, err
}

func overrides(ctx context.Context, io *rados.IoCtx, oid string) (map[string][]byte, error) {
	all, err := metadataPrefix(ctx, io, oid, configPrefix)
	if errors.Is(err, rados.ErrNotFound) {
		return nil, nil
	}
	m := make(map[string][]byte, len(all))
	for k, v := range all {
		m[strings.TrimPrefix(k, configPrefix)] = v
	}
	return m, err
}

// lookup returns an option's value and its source.
func (s *settings) lookup(name string) (value, source string) {
	if v, ok := s.image[name]; ok {
		return string(v), "image"
	}
	if v, ok := s.pool[name]; ok {
		return string(v), "pool"
	}
	return configOf(s.client).Get(name), "config"
}

func (s *settings) get(name string) string {
	v, _ := s.lookup(name)
	return v
}

// uint returns a number; sizes may have a unit. 0 if it is none.
func (s *settings) uint(name string) uint64 {
	v, source := s.lookup(name)
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		return n
	}
	if source == "config" {
		return uint64(configOf(s.client).Size(name))
	}
	digits := strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(v, "B"), "i"), "KMGTPE")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || len(v) == len(digits) {
		return 0
	}
	if i := strings.IndexByte("KMGTPE", v[len(digits)]); i >= 0 {
		n <<= 10 * (i + 1)
	}
	return n
}

// seconds returns a number of seconds, which may have a fraction.
func (s *settings) seconds(name string) time.Duration {
	n, err := strconv.ParseFloat(s.get(name), 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

func (s *settings) bool(name string) bool {
	switch strings.ToLower(s.get(name)) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// configOf returns the client's own configuration.
func configOf(c *rados.Client) *conf.Config {
	cfg, _ := any(c.Config()).(*conf.Config)
	return cfg
}

// clientConfig returns an option of the client's own configuration.
func clientConfig(c *rados.Client, name, def string) string {
	if v := configOf(c).Get(name); v != "" {
		return v
	}
	return def
}

// imageOptions are the options that `rbd config` knows and that this package
// heeds.
var imageOptions = []string{
	"rbd_blocklist_expire_seconds", "rbd_blocklist_on_break_lock", "rbd_compression_hint",
	"rbd_concurrent_management_ops", "rbd_default_clone_format", "rbd_default_data_pool", "rbd_default_features",
	"rbd_default_order", "rbd_default_stripe_count", "rbd_default_stripe_unit", "rbd_discard_granularity_bytes",
	"rbd_enable_alloc_hint", "rbd_mirroring_delete_delay", "rbd_mirroring_max_mirroring_snapshots",
	"rbd_mirroring_replay_delay", "rbd_mirroring_resync_after_disconnect", "rbd_move_to_trash_on_remove",
	"rbd_request_timed_out_seconds", "rbd_skip_partial_discard", "rbd_sparse_read_threshold_bytes", "rbd_validate_pool",
}

// list returns the options this package knows and all overrides, by name.
func (s *settings) list() []ConfigValue {
	names := slices.Clone(imageOptions)
	for _, m := range []map[string][]byte{s.pool, s.image} {
		for n := range m {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	var vs []ConfigValue
	for _, n := range slices.Compact(names) {
		v, source := s.lookup(n)
		vs = append(vs, ConfigValue{n, v, source})
	}
	return vs
}

// PoolConfig returns the options as they hold for new images of the pool.
func PoolConfig(ctx context.Context, io *rados.IoCtx) ([]ConfigValue, error) {
	s, err := newSettings(ctx, io, "")
	if err != nil {
		return nil, err
	}
	return s.list(), nil
}

// Config returns the options as they hold for the image.
func (img *Image) Config(ctx context.Context) ([]ConfigValue, error) {
	s, err := newSettings(ctx, img.io, img.oid)
	if err != nil {
		return nil, err
	}
	return s.list(), nil
}

// applyConfig reads the overrides and takes what the data path needs from them.
func (img *Image) applyConfig(ctx context.Context) error {
	s, err := newSettings(ctx, img.io, img.oid)
	if err != nil {
		return err
	}
	img.settings = s
	img.depth = ioDepth
	if s.bool("rbd_skip_partial_discard") {
		img.discardGranularity = s.uint("rbd_discard_granularity_bytes")
	}
	img.allocHint = s.bool("rbd_enable_alloc_hint")
	switch s.get("rbd_compression_hint") {
	case "compressible":
		img.allocFlags = allocHintCompressible
	case "incompressible":
		img.allocFlags = allocHintIncompressible
	}
	return nil
}

const (
	// ioDepth is how many objects one read or write works on at once; the
	// client bounds what is in flight over all.
	ioDepth = 16
	// The bits of an allocation hint.
	allocHintCompressible   = 256
	allocHintIncompressible = 512
)
