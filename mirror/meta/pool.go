package meta

import (
	"context"
	"errors"
	"fmt"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// read runs a method that reads and decodes its output.
func read(ctx context.Context, io *rados.IoCtx, oid, method string, in []byte, out func(*denc.Reader)) error {
	b, err := io.Exec(ctx, oid, wire.Class, method, in)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	r := denc.NewReader(b)
	out(r)
	if err := r.Err(); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// write runs a method that writes.
func write(ctx context.Context, io *rados.IoCtx, oid, method string, in []byte) error {
	if err := io.ExecWrite(ctx, oid, wire.Class, method, in); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// gone turns a missing object or key into no error.
func gone(err error) error {
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	return err
}

// Mode returns the mirroring mode, wire.MirrorMode…; disabled where nothing was
// ever set.
func Mode(ctx context.Context, io *rados.IoCtx) (mode uint32, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorModeGet, nil, func(r *denc.Reader) { mode = r.U32() })
	return mode, gone(err)
}

// SetMode changes the mirroring mode. Enabling needs the pool's uuid, disabling
// that there are neither peers nor images (rados.ErrBusy).
func SetMode(ctx context.Context, io *rados.IoCtx, mode uint32) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorModeSet, denc.AppendU32(nil, mode))
}

// UUID returns the pool's mirror uuid, "" without one.
func UUID(ctx context.Context, io *rados.IoCtx) (uuid string, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorUUIDGet, nil, func(r *denc.Reader) { uuid = r.String() })
	return uuid, gone(err)
}

// SetUUID sets the pool's mirror uuid.
func SetUUID(ctx context.Context, io *rados.IoCtx, uuid string) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorUUIDSet, denc.AppendString(nil, uuid))
}

// RemoteNamespace returns which namespace of the remote pool this one is mirrored
// with: its own name unless 20.2 was told otherwise.
func RemoteNamespace(ctx context.Context, io *rados.IoCtx) (ns string, err error) {
	err = read(ctx, io, Mirroring, wire.MethodMirrorRemoteNamespaceGet, nil, func(r *denc.Reader) { ns = r.String() })
	if errors.Is(err, rados.ErrNotFound) || errors.Is(err, rados.ErrNotSupported) {
		return io.Namespace(), nil
	}
	return ns, err
}

// SetRemoteNamespace says which namespace of the remote pool this one is mirrored
// with. Clusters before 20.2 say rados.ErrNotSupported.
func SetRemoteNamespace(ctx context.Context, io *rados.IoCtx, ns string) error {
	return write(ctx, io, Mirroring, wire.MethodMirrorRemoteNamespaceSet, denc.AppendString(nil, ns))
}
