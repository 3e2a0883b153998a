package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	jwire "github.com/rbdm/rbdm/journal/wire"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// ImageRef is an entry of a pool's directory.
type ImageRef struct{ Name, ID string }

// pageSize is how many entries of a directory are asked for at once
// (RBD_MAX_KEYS_READ is 64 in librbd; the OSD caps at 1024).
const pageSize = 1024

// LookupID returns the id of the image with the name; ErrNotFound without one.
func LookupID(ctx context.Context, io *rados.IoCtx, name string) (string, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "get_id", nil)
	if err := io.Operate(ctx, idPrefix+name, op); err != nil {
		return "", err
	}
	r := decode(res)
	return r.String(), r.Err()
}

// LookupName returns the name of the image with the id; ErrNotFound without one.
func LookupName(ctx context.Context, io *rados.IoCtx, id string) (string, error) {
	op := rados.NewOp()
	res := op.Call(rbdClass, "dir_get_name", denc.AppendString(nil, id))
	if err := io.Operate(ctx, directoryName, op); err != nil {
		return "", err
	}
	r := decode(res)
	return r.String(), r.Err()
}

// List returns all images of the pool and namespace in the order of their names.
func List(ctx context.Context, io *rados.IoCtx) ([]ImageRef, error) {
	var refs []ImageRef
	after := ""
	for {
		op := rados.NewOp()
		res := op.Call(rbdClass, "dir_list", denc.AppendU64(denc.AppendString(nil, after), pageSize))
		err := io.Operate(ctx, directoryName, op)
		if errors.Is(err, rados.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		r := decode(res)
		m := denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).String)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("list images: %w", err)
		}
		for name, id := range m {
			refs = append(refs, ImageRef{name, id})
			after = max(after, name)
		}
		if len(m) < pageSize {
			slices.SortFunc(refs, func(a, b ImageRef) int { return strings.Compare(a.Name, b.Name) })
			return refs, nil
		}
	}
}

// Rename gives an image another name. An image whose lock somebody else holds
// is renamed by the owner, as librbd does it.
func Rename(ctx context.Context, io *rados.IoCtx, from, to string) (err error) {
	if err := checkName(to); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("rename image %s to %s: %w", from, to, err)
		}
	}()
	img, err := Open(ctx, io, from, OpenOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close(ctx)) }()
	return img.Rename(ctx, to)
}

// Rename gives the image another name.
func (img *Image) Rename(ctx context.Context, to string) error {
	if err := checkName(to); err != nil {
		return err
	}
	if err := img.writable(); err != nil {
		return err
	}
	if _, err := LookupID(ctx, img.io, to); err == nil {
		return fmt.Errorf("image %s: %w", to, rados.ErrExists)
	} else if !errors.Is(err, rados.ErrNotFound) {
		return err
	}
	return img.maintain(ctx, maintenance{
		remote: func(r wire.RequestID) []byte { return renameMessage(r, to) },
		done:   rados.ErrExists,
		local:  func(ctx context.Context) error { return img.rename(ctx, to) },
	})
}

func (img *Image) rename(ctx context.Context, to string) error {
	return img.journaled(ctx, jwire.Event{Type: jwire.EventRename, Name: to}, func(ctx context.Context) error {
		return img.renameTo(ctx, to)
	})
}

// renameTo is rename without a record in the journal.
func (img *Image) renameTo(ctx context.Context, to string) error {
	from := img.Name()
	if err := createID(ctx, img.io, to, img.id); err != nil {
		return err
	}
	op := rados.NewOp()
	op.CallWrite(rbdClass, "dir_rename_image", denc.AppendString(denc.AppendString(denc.AppendString(nil, from), to), img.id))
	if err := img.io.Operate(ctx, directoryName, op); err != nil {
		if rerr := img.io.Remove(ctx, idPrefix+to); rerr != nil {
			err = errors.Join(err, rerr)
		}
		return err
	}
	if err := ignoreNotFound(img.io.Remove(ctx, idPrefix+from)); err != nil {
		img.log.Warn("the old name's object stays", "name", from, "error", err)
	}
	img.changeHeader(func(h *header) { h.name = to })
	return img.NotifyUpdate(ctx)
}

// createID makes the object that leads from the name to the id.
func createID(ctx context.Context, io *rados.IoCtx, name, id string) error {
	op := rados.NewOp()
	op.Create(true)
	op.CallWrite(rbdClass, "set_id", denc.AppendString(nil, id))
	return io.Operate(ctx, idPrefix+name, op)
}

// checkName refuses names that RBD's image specs cannot express.
func checkName(name string) error {
	if name == "" || strings.ContainsAny(name, "/@") {
		return fmt.Errorf("%q is no valid image name: %w", name, rados.ErrInvalid)
	}
	return nil
}

// NamespaceCreate makes a namespace in the pool. io is the default namespace's.
func NamespaceCreate(ctx context.Context, io *rados.IoCtx, name string) error {
	if name == "" {
		return fmt.Errorf("a namespace needs a name: %w", rados.ErrInvalid)
	}
	root := io.WithNamespace("")
	op := rados.NewOp()
	op.CallWrite(rbdClass, "namespace_add", denc.AppendString(nil, name))
	if err := root.Operate(ctx, namespaceName, op); err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	// The directory must exist before the first image: its state tells that the
	// namespace is there.
	op = rados.NewOp()
	op.CallWrite(rbdClass, "dir_state_set", denc.AppendU8(nil, dirReady))
	if err := root.WithNamespace(name).Operate(ctx, directoryName, op); err != nil {
		undo := rados.NewOp()
		undo.CallWrite(rbdClass, "namespace_remove", denc.AppendString(nil, name))
		return errors.Join(fmt.Errorf("create namespace %s: %w", name, err), root.Operate(ctx, namespaceName, undo))
	}
	return nil
}

// The states of a namespace's directory.
const (
	dirReady       uint8 = 0
	dirAddDisabled uint8 = 1
)

// NamespaceRemove removes an empty namespace; one with images, or images in the
// trash, is ErrBusy.
func NamespaceRemove(ctx context.Context, io *rados.IoCtx, name string) error {
	root := io.WithNamespace("")
	ns := root.WithNamespace(name)
	ok, err := NamespaceExists(ctx, root, name)
	if err != nil {
		return err
	}
	if name == "" || !ok {
		return fmt.Errorf("remove namespace %s: %w", name, rados.ErrNotFound)
	}
	setState := func(state uint8) error {
		op := rados.NewOp()
		op.CallWrite(rbdClass, "dir_state_set", denc.AppendU8(nil, state))
		return ns.Operate(ctx, directoryName, op)
	}
	// From here no image can be added; the class refuses it if there are some.
	if err := ignoreNotFound(setState(dirAddDisabled)); err != nil {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	trash, err := TrashList(ctx, ns)
	if err == nil && len(trash) > 0 {
		err = fmt.Errorf("images in the trash: %w", rados.ErrBusy)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("remove namespace %s: %w", name, err), setState(dirReady))
	}
	for _, oid := range []string{trashName, directoryName} {
		if err := ignoreNotFound(ns.Remove(ctx, oid)); err != nil {
			return fmt.Errorf("remove namespace %s: %w", name, err)
		}
	}
	op := rados.NewOp()
	op.CallWrite(rbdClass, "namespace_remove", denc.AppendString(nil, name))
	if err := ignoreNotFound(root.Operate(ctx, namespaceName, op)); err != nil {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// NamespaceList returns the names of the pool's namespaces in ascending order,
// without the default one.
func NamespaceList(ctx context.Context, io *rados.IoCtx) ([]string, error) {
	root := io.WithNamespace("")
	var names []string
	after := ""
	for {
		op := rados.NewOp()
		res := op.Call(rbdClass, "namespace_list", denc.AppendU64(denc.AppendString(nil, after), pageSize))
		err := root.Operate(ctx, namespaceName, op)
		if errors.Is(err, rados.ErrNotFound) {
			return names, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		r := decode(res)
		page := denc.Slice(r, 4, (*denc.Reader).String)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		names = append(names, page...)
		if len(page) < pageSize {
			return names, nil
		}
		after = page[len(page)-1]
	}
}

// NamespaceExists reports whether the pool has the namespace; the default one,
// "", always exists.
func NamespaceExists(ctx context.Context, io *rados.IoCtx, name string) (bool, error) {
	if name == "" {
		return true, nil
	}
	names, err := NamespaceList(ctx, io)
	return slices.Contains(names, name), err
}
