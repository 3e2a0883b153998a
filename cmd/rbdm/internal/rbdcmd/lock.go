package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/msgr2/denc"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/cls/lock"
	"github.com/rbdm/rbdm/rbd"
)

// lockHandlers are the commands about locks that users take by hand.
func lockHandlers() map[string]handler {
	return map[string]handler{
		"lock add":    lockAdd,
		"lock list":   lockList,
		"lock remove": lockRemove,
	}
}

// imageLock is the lock on the header of an image (RBD_LOCK_NAME).
const imageLock = "rbd_lock"

// imageLocks reads who holds the image's lock.
func imageLocks(ctx context.Context, img *rbd.Image) (lock.Info, error) {
	var info lock.Info
	data, err := img.IoCtx().Exec(ctx, img.HeaderOID(), lock.Class, lock.MethodGetInfo, lock.GetInfo{Name: imageLock}.Append(nil))
	if err != nil {
		return info, err
	}
	r := denc.NewReader(data)
	info.Decode(r)
	return info, r.Err()
}

// legacyAddr prints a client's address as rbd does: without its type.
func legacyAddr(a entity.Addr) string {
	text := a.String()
	if _, rest, ok := strings.Cut(text, ":"); ok && strings.HasPrefix(text, "v") {
		return rest
	}
	return text
}

func lockList(ctx context.Context, c *call) error {
	return c.showImage(ctx, func(img *rbd.Image, f *cli.Formatter) error {
		info, err := imageLocks(ctx, img)
		if err != nil {
			return failed(err, "rbd: listing locks failed")
		}
		if f != nil {
			f.OpenArray("locks")
			for _, l := range info.Lockers {
				f.OpenObject("lock")
				f.String("id", l.Cookie)
				f.String("locker", l.Name.String())
				f.String("address", legacyAddr(l.Addr))
				f.Close()
			}
			return f.Flush(c.std.Out)
		}
		if len(info.Lockers) == 0 {
			return nil
		}
		c.lockTable(info)
		return nil
	})
}

func (c *call) lockTable(info lock.Info) {
	kind, are, plural := "exclusive", "is 1", ""
	if info.Type == lock.Shared {
		kind = "shared"
	}
	if n := len(info.Lockers); n > 1 {
		are, plural = fmt.Sprintf("are %d", n), "s"
	}
	c.printf("There %s %s lock%s on this image.\n", are, kind, plural)
	if info.Type == lock.Shared {
		c.printf("Lock tag: %s\n", info.Tag)
	}
	var t cli.TextTable
	for _, name := range []string{"Locker", "ID", "Address"} {
		t.Column(name, cli.Left, cli.Left)
	}
	for _, l := range info.Lockers {
		t.Row(l.Name.String(), l.Cookie, legacyAddr(l.Addr))
	}
	t.Write(c.std.Out)
}

func lockAdd(ctx context.Context, c *call) error {
	s, args, err := c.metaArgs("lock id")
	if err != nil {
		return err
	}
	take := lock.Lock{Name: imageLock, Type: lock.Exclusive, Cookie: args[0]}
	if c.Has("shared") {
		take.Type, take.Tag = lock.Shared, c.String("shared")
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{ReadOnly: true, SkipParent: true}, func(img *rbd.Image) error {
		err := img.IoCtx().ExecWrite(ctx, img.HeaderOID(), lock.Class, lock.MethodLock, take.Append(nil))
		switch {
		case errors.Is(err, rados.ErrExists) && c.Has("shared"), errors.Is(err, rados.ErrBusy) && c.Has("shared"):
			return &cli.UsageError{Code: exitCode(err), Msg: "rbd: lock is already held by someone else with a different tag", Err: err}
		case errors.Is(err, rados.ErrBusy):
			return &cli.UsageError{Code: exitCode(err), Msg: "rbd: lock is already held by someone else", Err: err}
		case errors.Is(err, rados.ErrExists):
			return &cli.UsageError{Code: exitCode(err), Msg: "rbd: lock is already held by this client", Err: err}
		case err != nil:
			return failed(err, "rbd: taking lock failed")
		}
		return nil
	})
}

func lockRemove(ctx context.Context, c *call) error {
	s, args, err := c.metaArgs("lock id", "locker")
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(args[1], "client.")
	num, perr := strconv.ParseInt(text, 10, 64)
	if !ok || perr != nil {
		return failed(rados.ErrInvalid, "rbd: releasing lock failed")
	}
	return c.withImage(ctx, s, "", rbd.OpenOptions{ReadOnly: true, SkipParent: true}, func(img *rbd.Image) error {
		if err := breakLock(ctx, img, num, args[0]); err != nil {
			return failed(err, "rbd: releasing lock failed")
		}
		return nil
	})
}

// breakLock takes the lock from its holder, who is blocklisted first unless
// rbd_blocklist_on_break_lock is off: it must not write any more.
func breakLock(ctx context.Context, img *rbd.Image, client int64, cookie string) error {
	info, err := imageLocks(ctx, img)
	if err != nil {
		return err
	}
	for _, l := range info.Lockers {
		if l.Name.Type != entity.TypeClient || int64(l.Name.Num) != client || l.Cookie != cookie {
			continue
		}
		return img.BreakLock(ctx, rbd.LockOwner{Name: l.Name, Cookie: l.Cookie, Addr: l.Addr})
	}
	return rados.ErrNotFound
}
