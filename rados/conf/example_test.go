package conf_test

import (
	"fmt"
	"os"

	"github.com/rbdm/rbdm/msgr2/entity"
	"github.com/rbdm/rbdm/rados/conf"
)

// A command takes Ceph's common options out of its arguments, then reads the
// configuration that they and the environment name.
func Example() {
	admin := entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	args := []string{"ls", "--id", "backup", "-m", "10.0.0.1", "--rbd-default-order=23"}
	inv, rest, err := conf.ParseArgs(args, os.Getenv, admin)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := inv.FromText("ceph.conf", "[global]\nlog file = /var/log/$cluster-$name.log ; expanded\n")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rest, cfg.Name(), cfg.Get("log_file"), cfg.Int("rbd default order"))
	// Output: [ls] client.backup /var/log/ceph-client.backup.log 23
}
