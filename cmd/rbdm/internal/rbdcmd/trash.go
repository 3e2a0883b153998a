package rbdcmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rbdm/rbdm/cmd/rbdm/internal/cli"
	"github.com/rbdm/rbdm/mirror/ops"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// trashHandlers are the commands about the trash.
func trashHandlers() map[string]handler {
	return map[string]handler{
		"trash list":    trashList,
		"trash move":    trashMove,
		"trash purge":   trashPurge,
		"trash remove":  trashRemove,
		"trash restore": trashRestore,
	}
}

// parseDate reads a date in one of the forms that users of rbd write: "now", a
// date, a date with a time (the local one without an offset), or @ and seconds.
func parseDate(text string, now time.Time) (time.Time, error) {
	if text == "" || text == "now" {
		return now, nil
	}
	switch text {
	case "today":
		return now, nil
	case "tomorrow":
		return now.AddDate(0, 0, 1), nil
	case "yesterday":
		return now.AddDate(0, 0, -1), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02", "2006/01/02", "20060102", "01/02/2006", time.ANSIC, time.UnixDate, time.RFC1123, time.RFC1123Z} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, rados.ErrInvalid
}

// dateProgram is what rbd has read dates, as it names itself.
func (c *call) dateProgram(ctx context.Context) string {
	if c.before(ctx, release18) {
		return "/bin/date"
	}
	return "date"
}

func trashMove(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, specArg{}.read)
	if err != nil {
		return err
	}
	now := time.Now()
	until, err := parseDate(c.String("expires-at"), now)
	if err != nil {
		c.warnf("%s: invalid date ‘%s’", c.dateProgram(ctx), c.String("expires-at"))
		return failed(err, "rbd: error calling /bin/date")
	}
	delay := until.Sub(now)
	if delay < 0 {
		return invalidf("rbd: cannot use a date in the past as an expiration date")
	}
	old := c.before(ctx, release20)
	if old {
		c.willExpire(ctx, s, until, delay)
	}
	err = moveToTrash(ctx, io, s.Image, rbd.MoveOptions{Delay: delay, InGroup: old})
	switch {
	case errors.Is(err, errTooManyLinks):
		return &cli.UsageError{Code: exitCode(err), Msg: fmt.Sprintf(textInGroup, ""), Err: err}
	case err != nil:
		return failed(err, "rbd: deferred delete error")
	case !old:
		c.willExpire(ctx, s, until, delay)
	}
	return nil
}

// willExpire says until when an image is kept in the trash: since 18.2, which says
// it before it knows whether the image can go there.
func (c *call) willExpire(ctx context.Context, s spec, until time.Time, delay time.Duration) {
	if delay >= time.Second && !c.before(ctx, release18) {
		c.printf("rbd: image %s will expire at %s\n", s.Image, until.Local().Format("2006-01-02T15:04:05.000000-0700"))
	}
}

// moveToTrash stops the mirroring of an image and moves it to the trash, which is
// refused for images in groups since 20.2.
func moveToTrash(ctx context.Context, io *rados.IoCtx, name string, o rbd.MoveOptions) error {
	if !o.InGroup && groupOf(ctx, io, name) != "" { // before its mirroring is stopped
		return errTooManyLinks
	}
	if err := stopMirroring(ctx, io, name); err != nil {
		return err
	}
	_, err := rbd.TrashMove(ctx, io, name, o)
	return err
}

// stopMirroring ends the mirroring of an image that goes to the trash.
func stopMirroring(ctx context.Context, io *rados.IoCtx, name string) error {
	id, err := rbd.LookupID(ctx, io, name)
	if err != nil {
		return nil // what is to be done next says why
	}
	return ops.ForgetImage(ctx, io, id)
}

// trashID reads the pool and the id of an image in the trash.
func trashID(in *cli.Invocation) (spec, error) {
	s := spec{Pool: in.String("pool"), Namespace: in.String("namespace"), Image: in.String("image-id")}
	if text := in.Arg(0); s.Image == "" && text != "" {
		given, ok := splitSpec(text)
		if !ok {
			return s, invalidf("rbd: invalid spec '%s'", text)
		}
		if given.Snap != "" {
			return s, invalidf("rbd: snapshot name specified for a command that doesn't use it")
		}
		if given.Pool != "" {
			s.Pool = given.Pool
		}
		if given.Namespace != "" {
			s.Namespace = given.Namespace
		}
		s.Image = given.Image
	}
	if s.Image == "" {
		return s, invalidf("rbd: image id was not specified")
	}
	return s, nil
}

func trashRemove(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, trashID)
	if err != nil {
		return err
	}
	p, done := c.progress("Removing image")
	err = rbd.TrashRemove(ctx, io, s.Image, c.Has("force"), p)
	if err == nil {
		done(nil)
		return nil
	}
	var msg string
	switch {
	case errors.Is(err, rados.ErrNotEmpty):
		msg = textHasSnaps
	case errors.Is(err, rados.ErrBusy):
		msg = textWatchers
	case errors.Is(err, errTooManyLinks):
		msg = "\nRemove the image from the group and try again."
	case errors.Is(err, rados.ErrPermission):
		msg = "\nDeferment time has not expired, please use --force if you really want to remove the image"
	default:
		msg = "rbd: remove error: " + errnoText(err)
	}
	c.warnf("%s", msg)
	done(err)
	return &cli.UsageError{Code: exitCode(err), Err: err}
}

func trashRestore(ctx context.Context, c *call) error {
	s, io, err := c.onPool(ctx, trashID)
	if err != nil {
		return err
	}
	err = rbd.TrashRestore(ctx, io, s.Image, c.String("image"))
	switch {
	case errors.Is(err, rados.ErrNotFound):
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: error: image does not exist in trash", Err: err}
	case errors.Is(err, rados.ErrExists):
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: error: an image with the same name already exists, try again with a different name", Err: err}
	case err != nil:
		return failed(err, "rbd: restore error")
	}
	return nil
}

// threshold reads --threshold, a share of the pool; rbd.NoThreshold is none.
func (c *call) threshold() (float64, error) {
	if !c.Has("threshold") {
		return rbd.NoThreshold, nil
	}
	text := c.String("threshold")
	v, err := strconv.ParseFloat(text, 32)
	if err != nil {
		return 0, &cli.UsageError{Code: exitGeneral, Msg: "rbd: the argument ('" + text + "') for option '--threshold' is invalid"}
	}
	return v, nil
}

func trashPurge(ctx context.Context, c *call) error {
	s, err := poolSpec(c.Invocation)
	if err != nil {
		return err
	}
	threshold, err := c.threshold()
	if err != nil {
		return err
	}
	io, err := c.pool(ctx, s)
	if err != nil {
		return err
	}
	expired := time.Now()
	if before := c.String("expired-before"); threshold == rbd.NoThreshold { // else rbd pays no heed to it
		if expired, err = parseDate(before, expired); err != nil {
			c.warnf("%s: invalid date ‘%s’", c.dateProgram(ctx), before)
			return failed(err, "rbd: error calling /bin/date")
		}
	}
	p, done := c.progressToEnd("Removing images")
	err = rbd.TrashPurge(ctx, io, rbd.PurgeOptions{Expired: expired, Threshold: threshold, Progress: p})
	done(err)
	switch {
	case errors.Is(err, rados.ErrNotEmpty), errors.Is(err, rados.ErrBusy), errors.Is(err, errTooManyLinks):
		return &cli.UsageError{Code: exitCode(err), Msg: "rbd: some expired images could not be removed\n" +
			"Ensure that they are closed/unmapped, do not have snapshots (including trashed snapshots with linked clones), are not in a group and were moved to the trash successfully.", Err: err}
	case errors.Is(err, rados.ErrInvalid):
		return logged(err)
	case err != nil:
		return failed(err, "rbd: trash purge error")
	}
	return nil
}

func trashList(ctx context.Context, c *call) error {
	_, f, io, err := c.showPool(ctx, poolSpec)
	if err != nil {
		return err
	}
	entries, err := rbd.TrashList(ctx, io)
	if err != nil {
		return failed(err, "rbd: trash list")
	}
	if !c.Has("all") {
		entries = slices.DeleteFunc(entries, func(e rbd.TrashEntry) bool {
			return e.Source != rbd.TrashUser && e.Source != rbd.TrashUserParent
		})
	}
	if c.Has("long") {
		return trashLong(ctx, c, io, entries, f)
	}
	if f == nil {
		for _, e := range entries {
			c.printf("%s %s\n", e.ID, e.Name)
		}
		return nil
	}
	f.OpenArray("trash")
	for _, e := range entries {
		f.OpenObject("image")
		f.String("id", e.ID)
		f.String("name", e.Name)
		f.Close()
	}
	return f.Flush(c.std.Out)
}

func trashLong(ctx context.Context, c *call, io *rados.IoCtx, entries []rbd.TrashEntry, f *cli.Formatter) error {
	var t cli.TextTable
	for _, name := range []string{"ID", "NAME", "SOURCE", "DELETED_AT", "STATUS", "PARENT"} {
		t.Column(name, cli.Left, cli.Left)
	}
	if f != nil {
		f.OpenArray("trash")
	}
	for _, e := range entries {
		img, err := rbd.OpenByID(ctx, io, e.ID, rbd.OpenOptions{ReadOnly: true, SkipParent: true})
		if err != nil {
			if !errors.Is(err, rados.ErrNotFound) {
				c.warnf("rbd: error opening %s: %s", e.ID, errnoText(err))
			}
			continue
		}
		parent, err := namesOfParent(ctx, io, img.Parent())
		closeImage(img, &err)
		if err != nil {
			return failed(err, "rbd: trash list")
		}
		if f == nil {
			cells := []string{e.ID, e.Name, trashSource(e.Source), ctime(e.Deleted), trashStatus(e.Until, time.Now())}
			if parent != nil {
				cells = append(cells, parent.String())
			}
			t.Row(cells...)
			continue
		}
		f.OpenObject("image")
		f.String("id", e.ID)
		f.String("name", e.Name)
		f.String("source", trashSource(e.Source))
		f.String("deleted_at", ctime(e.Deleted))
		f.String("status", trashStatus(e.Until, time.Now()))
		if parent != nil {
			parent.object(f)
			f.Close()
		}
		f.Close()
	}
	if f != nil {
		return f.Flush(c.std.Out)
	}
	if len(entries) > 0 {
		t.Write(c.std.Out)
	}
	return nil
}

func trashStatus(until, now time.Time) string {
	if now.Before(until) {
		return "protected until " + ctime(until)
	}
	return "expired at " + ctime(until)
}

func trashSource(source uint8) string {
	switch source {
	case rbd.TrashUser:
		return "USER"
	case rbd.TrashMirroring:
		return "MIRRORING"
	case rbd.TrashMigration:
		return "MIGRATION"
	case rbd.TrashRemoving:
		return "REMOVING"
	case rbd.TrashUserParent:
		return "USER_PARENT"
	}
	return ""
}
