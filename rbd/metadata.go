package rbd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// metadataList reads all key-value pairs that users and tools keep on an image's
// header or on rbd_info.
func metadataList(ctx context.Context, io *rados.IoCtx, oid string) (map[string][]byte, error) {
	return metadataPrefix(ctx, io, oid, "")
}

// metadataPrefix reads the pairs whose keys start with prefix.
func metadataPrefix(ctx context.Context, io *rados.IoCtx, oid, prefix string) (map[string][]byte, error) {
	all := map[string][]byte{}
	after := ""
	if prefix != "" {
		// The key just before the first that may have the prefix.
		after = prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]-1) + "~"
	}
	for {
		op := rados.NewOp()
		res := op.Call(rbdClass, "metadata_list", denc.AppendU64(denc.AppendString(nil, after), pageSize))
		if err := io.Operate(ctx, oid, op); err != nil {
			return nil, err
		}
		r := decode(res)
		page := denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).Bytes)
		if err := r.Err(); err != nil {
			return nil, err
		}
		beyond := false
		for k, v := range page {
			after = max(after, k)
			if strings.HasPrefix(k, prefix) {
				all[k] = v
			} else if k > prefix {
				beyond = true
			}
		}
		if len(page) < pageSize || beyond {
			return all, nil
		}
	}
}

func metadataGet(ctx context.Context, io *rados.IoCtx, oid, key string) ([]byte, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "metadata_get", denc.AppendString(nil, key))
	if err := io.Operate(ctx, oid, op); err != nil {
		return nil, err
	}
	r := decode(res)
	return r.Bytes(), r.Err()
}

// Metadata returns all of the image's metadata.
func (img *Image) Metadata(ctx context.Context) (map[string][]byte, error) {
	m, err := metadataList(ctx, img.io, img.oid)
	if err != nil {
		return nil, fmt.Errorf("metadata of image %s: %w", img.Name(), err)
	}
	return m, nil
}

// MetadataGet returns one value of the image's metadata; ErrNotFound without it.
func (img *Image) MetadataGet(ctx context.Context, key string) ([]byte, error) {
	v, err := metadataGet(ctx, img.io, img.oid, key)
	if err != nil {
		return nil, fmt.Errorf("metadata %s of image %s: %w", key, img.Name(), err)
	}
	return v, nil
}

// MetadataSet sets one value of the image's metadata.
func (img *Image) MetadataSet(ctx context.Context, key string, value []byte) error {
	v := string(value)
	return img.changeMetadata(ctx, key, &v)
}

// MetadataRemove removes one value of the image's metadata; ErrNotFound without
// it.
func (img *Image) MetadataRemove(ctx context.Context, key string) error {
	if _, err := img.MetadataGet(ctx, key); err != nil {
		return err
	}
	return img.changeMetadata(ctx, key, nil)
}

// changeMetadata sets a value, or removes it if there is none.
func (img *Image) changeMetadata(ctx context.Context, key string, value *string) error {
	err := img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return metadataMessage(r, key, value) },
		local:  func(ctx context.Context) error { return img.storeMetadata(ctx, key, value) },
	})
	if err != nil {
		return fmt.Errorf("metadata %s of image %s: %w", key, img.Name(), err)
	}
	return nil
}

// storeMetadata is changeMetadata by the owner of the lock.
func (img *Image) storeMetadata(ctx context.Context, key string, value *string) error {
	ev := jwire.Event{Type: jwire.EventMetadataRemove, Name: key}
	if value != nil {
		ev.Type, ev.Value = jwire.EventMetadataSet, *value
	}
	err := img.journaled(ctx, ev, func(ctx context.Context) error {
		op := rados.NewOp()
		img.guard(op)
		if value != nil {
			callMetadataSet(op, map[string][]byte{key: []byte(*value)})
		} else {
			op.CallWrite(rbdClass, "metadata_remove", denc.AppendString(nil, key))
		}
		return img.io.Operate(ctx, img.oid, op)
	})
	if err != nil {
		return err
	}
	if strings.HasPrefix(key, configPrefix) {
		if err := img.applyConfig(ctx); err != nil {
			return err
		}
	}
	return img.NotifyUpdate(ctx)
}

// PoolMetadata returns the metadata of the pool, which all its namespaces share.
func PoolMetadata(ctx context.Context, io *rados.IoCtx) (map[string]string, error) {
	m, err := metadataList(ctx, io.WithNamespace(""), infoName)
	if err != nil && !errors.Is(err, rados.ErrNotFound) {
		return nil, fmt.Errorf("pool metadata: %w", err)
	}
	out := make(map[string]string, len(m))
	for k, v := range maps.All(m) {
		out[k] = string(v)
	}
	return out, nil
}

// PoolMetadataGet returns one value of the pool's metadata; ErrNotFound without
// it.
func PoolMetadataGet(ctx context.Context, io *rados.IoCtx, key string) (string, error) {
	v, err := metadataGet(ctx, io.WithNamespace(""), infoName, key)
	if err != nil {
		return "", fmt.Errorf("pool metadata %s: %w", key, err)
	}
	return string(v), nil
}

// PoolMetadataSet sets one value of the pool's metadata.
func PoolMetadataSet(ctx context.Context, io *rados.IoCtx, key, value string) error {
	op := rados.NewOp()
	callMetadataSet(op, map[string][]byte{key: []byte(value)})
	if err := io.WithNamespace("").Operate(ctx, infoName, op); err != nil {
		return fmt.Errorf("pool metadata %s: %w", key, err)
	}
	return nil
}

// PoolMetadataRemove removes one value of the pool's metadata; ErrNotFound
// without it.
func PoolMetadataRemove(ctx context.Context, io *rados.IoCtx, key string) error {
	if _, err := PoolMetadataGet(ctx, io, key); err != nil {
		return err
	}
	op := rados.NewOp()
	op.CallWrite(rbdClass, "metadata_remove", denc.AppendString(nil, key))
	if err := io.WithNamespace("").Operate(ctx, infoName, op); err != nil {
		return fmt.Errorf("pool metadata %s: %w", key, err)
	}
	return nil
}
