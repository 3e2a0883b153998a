package rados_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados"
	"github.com/rbdm/rbdm/rados/conf"
)

// Connect as client.admin with the usual files and read an object.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	inv := conf.Invocation{Name: entity.AuthName{Type: entity.TypeClient, ID: "admin"}}
	cfg, err := inv.Load()
	if err != nil {
		log.Fatal(err)
	}
	client, err := rados.Connect(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	pool, err := client.OpenPool(ctx, "rbd")
	if err != nil {
		log.Fatal(err)
	}
	data, err := pool.Read(ctx, "object", 0, 4096)
	if errors.Is(err, rados.ErrNotFound) {
		fmt.Println("no such object")
		return
	}
	fmt.Println(len(data), err)
}

// Several operations on an object are one atomic step.
func ExampleIoCtx_Operate() {
	var pool *rados.IoCtx // of Client.OpenPool
	write := func(ctx context.Context) error {
		op := rados.NewOp()
		op.Create(true) // fails with ErrExists when it is there
		op.SetAllocHint(4<<20, 4<<20, 0)
		op.Write(0, msgr2.NewData([]byte("head"), []byte("body")))
		op.SetXattr("kind", []byte("example"))
		err := pool.Operate(ctx, "object", op)
		if rados.MaybeApplied(err) {
			// ctx ended before the answer came: look before trying again.
			_, err = pool.Stat(ctx, "object")
		}
		return err
	}
	_ = write
}

// Notifications reach all watchers of an object and bring their answers back.
func ExampleIoCtx_Watch() {
	var pool *rados.IoCtx // of Client.OpenPool
	follow := func(ctx context.Context) error {
		lost := make(chan error, 1)
		watch, err := pool.Watch(ctx, "object", func(n *rados.Notification) {
			fmt.Printf("client.%d says %q\n", n.NotifierGID, n.Payload)
			n.Ack([]byte("heard"))
		}, rados.OnError(func(err error) { lost <- err }))
		if err != nil {
			return err
		}
		defer watch.Close(ctx)
		res, err := pool.Notify(ctx, "object", []byte("hello"), 5*time.Second)
		if err != nil {
			return err
		}
		fmt.Println(len(res.Acks), "answers")
		select {
		case err := <-lost:
			return err // register again
		case <-ctx.Done():
			return nil
		}
	}
	_ = follow
}
