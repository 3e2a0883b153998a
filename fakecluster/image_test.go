package fakecluster_test

import (
	"testing"

	"github.com/rbdm/rbdm/fakecluster"
)

func TestClassMethodsRun(t *testing.T) {
	c := fakecluster.New(t, fakecluster.Pools("rbd"))
	io := open(t, connect(t, c, "client.admin"), "rbd")
	if _, err := io.Exec(t.Context(), "o", "rbd", "no_such_method", nil); err == nil {
		t.Fatal("an unknown method was executed")
	}
	must(t, io.WriteFull(t.Context(), "rbd_id.x", nil))
	if _, err := io.Exec(t.Context(), "rbd_id.x", "rbd", "get_id", nil); err == nil {
		t.Fatal("an empty object has an id")
	}
	if err := io.ExecWrite(t.Context(), "rbd_id.x", "rbd", "set_id", []byte("\x02\x00\x00\x00ab")); err != nil {
		t.Fatal(err)
	}
	if v, err := io.Exec(t.Context(), "rbd_id.x", "rbd", "get_id", nil); err != nil || string(v) != "\x02\x00\x00\x00ab" {
		t.Fatalf("%q, %v", v, err)
	}
}
