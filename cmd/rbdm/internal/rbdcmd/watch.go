package rbdcmd

import (
	"bufio"
	"context"

	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rbd"
)

// watchHeader prints the notifications on an image's header until a line is
// entered or the command is interrupted.
func (c *call) watchHeader(ctx context.Context, img *rbd.Image) error {
	name := img.Name()
	w, err := img.IoCtx().Watch(ctx, img.HeaderOID(), func(n *rados.Notification) {
		c.printf("%s received notification: notify_id=%d, cookie=%d, notifier_id=%d, bl.length=%d\n", name, n.NotifyID, n.Cookie, n.NotifierGID, len(n.Payload))
		n.Ack(nil)
	}, rados.OnError(func(err error) {
		c.warnf("%s received error: err=%s", name, errnoText(err))
	}))
	if err != nil {
		return failed(err, "rbd: watch failed")
	}
	c.printf("press enter to exit...\n")
	entered := make(chan struct{})
	go func() {
		defer close(entered)
		bufio.NewReader(c.std.In).ReadString('\n')
	}()
	select {
	case <-ctx.Done():
	case <-entered:
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := w.Close(closing); err != nil {
		return failed(err, "rbd: unwatch failed")
	}
	return nil
}
