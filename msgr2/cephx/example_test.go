package cephx_test

import (
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// A keyring gives the key with which a client logs in.
func ExampleClient() {
	ring, err := cephx.ParseKeyring(strings.NewReader("[client.admin]\n\tkey = AQCkyQBr2OSaNhAAFINdLbfl5N6votRpKaguUQ==\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	name := entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	client := cephx.NewClient(name, func() (cephx.Key, error) {
		e, err := ring.Lookup(name)
		return e.Key, err
	})
	handshake, err := client.Handshake() // give it to msgr2.Dial, then Commit it
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(client.Name(), handshake.Method(), handshake.Resumes(), client.HasTicket(entity.TypeOSD))
	// Output: client.admin 2 false false
}
