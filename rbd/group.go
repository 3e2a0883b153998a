package rbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd/wire"
)

// The objects of consistency groups (include/rbd_types.h).
const (
	groupDirectoryName = "rbd_group_directory"
	groupHeaderPrefix  = "rbd_group_header."
)

// Group is a consistency group: images of one namespace that are taken snapshots
// of at one and the same instant. It holds no connection and need not be closed.
// What it does to the cluster is what librbd's api::Group does.
type Group struct {
	io   *rados.IoCtx
	name string
	id   string
	oid  string // header object
}

// GroupImage is an image of a group.
type GroupImage struct {
	// Pool is the image's pool; the namespace is the group's.
	Pool int64
	ID   string
	// Name is empty if the pool's directory lacks the image.
	Name string
	// Attached is false while the image is being added or removed, and if that
	// was interrupted.
	Attached bool
}

// CreateGroup makes an empty group and returns its id; a name that exists is
// ErrExists.
func CreateGroup(ctx context.Context, io *rados.IoCtx, name string) (id string, err error) {
	id = NewImageID(io.Client())
	if err := groupDirCall(ctx, io, wire.MethodGroupDirAdd, name, id); err != nil {
		return "", fmt.Errorf("create group %s: %w", name, err)
	}
	op := rados.NewOp()
	op.Create(true)
	if err := io.Operate(ctx, groupHeaderPrefix+id, op); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		undo := groupDirCall(ctx, io, wire.MethodGroupDirRemove, name, id)
		return "", errors.Join(fmt.Errorf("create group %s: %w", name, err), undo)
	}
	return id, nil
}

// groupDirCall changes the directory of groups.
func groupDirCall(ctx context.Context, io *rados.IoCtx, method string, args ...string) error {
	var in []byte
	for _, a := range args {
		in = denc.AppendString(in, a)
	}
	return io.ExecWrite(ctx, groupDirectoryName, rbdClass, method, in)
}

// Groups returns the names and ids of all groups of the pool and namespace in the
// order of their names.
func Groups(ctx context.Context, io *rados.IoCtx) ([]ImageRef, error) {
	var refs []ImageRef
	after := ""
	for {
		in := denc.AppendU64(denc.AppendString(nil, after), pageSize)
		out, err := io.Exec(ctx, groupDirectoryName, rbdClass, wire.MethodGroupDirList, in)
		if errors.Is(err, rados.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		r := denc.NewReader(out)
		page := denc.Map(r, 8, (*denc.Reader).String, (*denc.Reader).String)
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		for name, id := range page {
			refs = append(refs, ImageRef{name, id})
			after = max(after, name)
		}
		if len(page) < pageSize {
			slices.SortFunc(refs, func(a, b ImageRef) int { return strings.Compare(a.Name, b.Name) })
			return refs, nil
		}
	}
}

// OpenGroup finds the group with the name; ErrNotFound without one.
func OpenGroup(ctx context.Context, io *rados.IoCtx, name string) (*Group, error) {
	out, err := io.Exec(ctx, groupDirectoryName, rbdClass, wire.MethodDirGetID, denc.AppendString(nil, name))
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	r := denc.NewReader(out)
	id := r.String()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("group %s: %w", name, err)
	}
	return &Group{io: io, name: name, id: id, oid: groupHeaderPrefix + id}, nil
}

// Name returns the name that the group was opened by.
func (g *Group) Name() string { return g.name }

// ID returns the group's id.
func (g *Group) ID() string { return g.id }

// spec is how an image's header names the group.
func (g *Group) spec() wire.GroupSpec { return wire.GroupSpec{Pool: g.io.Pool(), ID: g.id} }

// call carries out a method of the group's header that changes it.
func (g *Group) call(ctx context.Context, method string, in []byte) error {
	return g.io.ExecWrite(ctx, g.oid, rbdClass, method, in)
}

// RenameGroup gives a group another name in its pool and namespace. A name that
// exists, the old one included, is ErrExists.
func RenameGroup(ctx context.Context, io *rados.IoCtx, from, to string) error {
	g, err := OpenGroup(ctx, io, from)
	if err != nil {
		return err
	}
	if err := groupDirCall(ctx, io, wire.MethodGroupDirRename, from, to, g.id); err != nil {
		return fmt.Errorf("rename group %s to %s: %w", from, to, err)
	}
	return nil
}

// RemoveGroup removes a group with its snapshots; its images stay. What a removal
// that was interrupted left is removed, and a group that is not there is no error.
func RemoveGroup(ctx context.Context, io *rados.IoCtx, name string) error {
	g, err := OpenGroup(ctx, io, name)
	if errors.Is(err, rados.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := g.remove(ctx); err != nil {
		return fmt.Errorf("remove group %s: %w", name, err)
	}
	return nil
}

func (g *Group) remove(ctx context.Context) error {
	snaps, err := g.records(ctx)
	if err := ignoreNotFound(err); err != nil {
		return err
	}
	for _, s := range snaps {
		if err := g.removeSnapshot(ctx, s); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.Name, err)
		}
	}
	images, err := g.members(ctx)
	if err := ignoreNotFound(err); err != nil {
		return err
	}
	for _, i := range images {
		if err := ignoreNotFound(g.removeImage(ctx, i.Spec)); err != nil && !errors.Is(err, errOtherGroup) {
			return fmt.Errorf("image %s: %w", i.Spec.ImageID, err)
		}
	}
	if err := ignoreNotFound(g.io.Remove(ctx, g.oid)); err != nil {
		return err
	}
	return ignoreNotFound(groupDirCall(ctx, g.io, wire.MethodGroupDirRemove, g.name, g.id))
}

// members returns the images that the header lists, by their pools and ids.
func (g *Group) members(ctx context.Context) ([]wire.GroupImageStatus, error) {
	var all []wire.GroupImageStatus
	last := wire.GroupImageSpec{Pool: -1}
	for {
		out, err := g.io.Exec(ctx, g.oid, rbdClass, wire.MethodGroupImageList, denc.AppendU64(last.Append(nil), pageSize))
		if err != nil {
			return nil, fmt.Errorf("images of group %s: %w", g.name, err)
		}
		r := denc.NewReader(out)
		page := denc.Slice(r, 20, func(r *denc.Reader) (s wire.GroupImageStatus) {
			s.Decode(r)
			return s
		})
		if err := r.Err(); err != nil {
			return nil, fmt.Errorf("images of group %s: %w", g.name, err)
		}
		all = append(all, page...)
		if len(page) < pageSize {
			return all, nil
		}
		last = page[len(page)-1].Spec
	}
}

// Images returns the group's images ordered by their pools and names.
func (g *Group) Images(ctx context.Context) ([]GroupImage, error) {
	members, err := g.members(ctx)
	if err != nil {
		return nil, err
	}
	images := make([]GroupImage, len(members))
	for i, m := range members {
		images[i] = GroupImage{Pool: m.Spec.Pool, ID: m.Spec.ImageID, Attached: m.State == wire.GroupImageAttached}
		if images[i].Name, err = g.imageName(ctx, m.Spec.Pool, m.Spec.ImageID); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(images, func(a, b GroupImage) int { return byPoolAndName(a.Pool, b.Pool, a.Name, b.Name) })
	return images, nil
}

func byPoolAndName(p, q int64, a, b string) int {
	if p != q {
		return int(min(max(p-q, -1), 1))
	}
	return strings.Compare(a, b)
}

// imageName returns the name of an image, "" if its directory or pool has none.
func (g *Group) imageName(ctx context.Context, pool int64, id string) (string, error) {
	name, err := LookupName(ctx, g.io.WithPool(pool), id)
	if err = ignoreNotFound(err); err != nil {
		return "", fmt.Errorf("name of image %s: %w", id, err)
	}
	return name, nil
}

// AddImage puts an image of the same namespace into the group. An image that is
// in another group is ErrExists.
func (g *Group) AddImage(ctx context.Context, imageIO *rados.IoCtx, name string) error {
	if err := g.addImage(ctx, imageIO, name); err != nil {
		return fmt.Errorf("add image %s to group %s: %w", name, g.name, err)
	}
	return nil
}

func (g *Group) addImage(ctx context.Context, imageIO *rados.IoCtx, name string) error {
	if imageIO.Namespace() != g.io.Namespace() {
		return fmt.Errorf("the image is in another namespace than the group: %w", rados.ErrInvalid)
	}
	id, err := LookupID(ctx, imageIO, name)
	if err != nil {
		return err
	}
	spec := wire.GroupImageSpec{ImageID: id, Pool: imageIO.Pool()}
	set := func(state uint8) error {
		return g.call(ctx, wire.MethodGroupImageSet, wire.GroupImageStatus{Spec: spec, State: state}.Append(nil))
	}
	if err := set(wire.GroupImageIncomplete); err != nil {
		return err
	}
	if err := imageIO.ExecWrite(ctx, headerPrefix+id, rbdClass, wire.MethodImageGroupAdd, g.spec().Append(nil)); err != nil {
		if rados.MaybeApplied(err) {
			return err // `group image rm` takes both halves back
		}
		return errors.Join(err, ignoreNotFound(g.call(ctx, wire.MethodGroupImageRemove, spec.Append(nil))))
	}
	return errors.Join(notifyHeader(ctx, imageIO, headerPrefix+id), set(wire.GroupImageAttached))
}

// RemoveImage takes an image out of the group by its id. The snapshots of the
// group that it has stay.
func (g *Group) RemoveImage(ctx context.Context, imageIO *rados.IoCtx, id string) error {
	err := error(rados.ErrInvalid)
	if imageIO.Namespace() == g.io.Namespace() {
		err = g.removeImage(ctx, wire.GroupImageSpec{ImageID: id, Pool: imageIO.Pool()})
	}
	if err != nil {
		return fmt.Errorf("remove image %s from group %s: %w", id, g.name, err)
	}
	return nil
}

func (g *Group) removeImage(ctx context.Context, spec wire.GroupImageSpec) error {
	half := wire.GroupImageStatus{Spec: spec, State: wire.GroupImageIncomplete}
	if err := g.call(ctx, wire.MethodGroupImageSet, half.Append(nil)); err != nil {
		return err
	}
	imageIO := g.io.WithPool(spec.Pool)
	err := imageIO.ExecWrite(ctx, headerPrefix+spec.ImageID, rbdClass, wire.MethodImageGroupRemove, g.spec().Append(nil))
	if err == nil {
		err = notifyHeader(ctx, imageIO, headerPrefix+spec.ImageID)
	}
	foreign := errors.Is(err, errOtherGroup)
	if err := ignoreNotFound(err); err != nil && !foreign {
		return err
	}
	if rerr := g.call(ctx, wire.MethodGroupImageRemove, spec.Append(nil)); rerr != nil || !foreign {
		return rerr
	}
	return err
}

// errOtherGroup is EBADF, which the class answers about an image that is in another
// group. librbd leaves such an image in the list of this one.
const errOtherGroup = rados.Errno(9)
