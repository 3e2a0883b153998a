//go:build interop

package msgr2_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rbdm/rbdm/msgr2"
	"github.com/rbdm/rbdm/msgr2/cephx"
	"github.com/rbdm/rbdm/msgr2/entity"
)

// TestInteropAcceptsRealClients lets Ceph's own clients in. RBDM_RADOS holds the
// commands that start `rados` of the releases to test, separated by semicolons,
// as in "rados; chroot /srv/ceph20 rados". Each is told to list the pools of a
// cluster whose monitor is this test, and gets as far as asking for the monitors'
// map.
func TestInteropAcceptsRealClients(t *testing.T) {
	commands := os.Getenv("RBDM_RADOS")
	if commands == "" {
		t.Fatal("set RBDM_RADOS to the commands that start rados, separated by semicolons")
	}
	for _, command := range strings.Split(commands, ";") {
		argv := strings.Fields(command)
		version, err := exec.Command(argv[0], append(argv[1:], "--version")...).Output()
		if err != nil {
			t.Fatal(command, err)
		}
		release := strings.Join(strings.Split(strings.Fields(string(version))[2], ".")[:2], ".")
		types := []cephx.KeyType{cephx.KeyAES}
		if release >= "20" {
			types = append(types, cephx.KeyAES256K)
		}
		for _, kt := range types {
			for _, mode := range []msgr2.Mode{msgr2.ModeCRC, msgr2.ModeSecure} {
				for _, way := range []string{"rev1", "rev0", "compression"} {
					t.Run(fmt.Sprintf("%s/%v/%v/%s", release, kt, mode, way), func(t *testing.T) {
						cfg := msgr2.Config{Revision0: way == "rev0"}
						if way == "compression" {
							cfg.Compression = []msgr2.Algorithm{msgr2.Snappy, msgr2.Zstd}
						}
						acceptReal(t, argv, kt, mode, cfg)
					})
				}
			}
		}
	}
}

func acceptReal(t *testing.T, argv []string, kt cephx.KeyType, mode msgr2.Mode, cfg msgr2.Config) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	name := entity.AuthName{Type: entity.TypeClient, ID: "admin"}
	key := cephx.NewKey(kt)
	server := cephx.NewKeyServer(cephx.Keyring{name: {Key: key, Caps: map[string]string{"mon": "allow *"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], "-c", "/dev/null", "--no-log-to-stderr",
		"-m", "v2:"+l.Addr().String()+"/0", "-n", name.String(), "--key", key.Base64(),
		"--ms_mon_client_mode", mode.String(), "lspools")...)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	}()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(15 * time.Second))
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{msgs: make(chan *msgr2.Message, 100), dead: make(chan error, 1)}
	cfg.Type, cfg.Features, cfg.Handler = entity.TypeMon, features, r
	cfg.Addrs = entity.AddrVec{{Type: entity.AddrMsgr2, IP: netip.MustParseAddrPort(l.Addr().String())}}
	cfg.KeepaliveInterval = 20 * time.Millisecond
	conn, err := msgr2.Accept(ctx, nc, server.MonAuth(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := conn.LastKeepaliveAck()
	if conn.Mode() != mode || conn.PeerName().Type != entity.TypeClient || conn.Compression() != 0 {
		t.Errorf("mode %v, peer %v, compression %v", conn.Mode(), conn.PeerName(), conn.Compression())
	}
	for {
		select {
		case m := <-r.msgs:
			if m.Type != typeMonGetMap {
				continue
			}
			for !conn.LastKeepaliveAck().After(began) {
				select {
				case <-time.After(time.Millisecond):
				case err := <-r.dead:
					t.Fatal(err)
				}
			}
			return
		case err := <-r.dead:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}
