package adminsocket

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testCommands() []Command {
	return []Command{
		{Words: "rbd mirror status", Help: "get status", Run: func(context.Context) ([]byte, error) { return JSON(map[string]int{"images": 2}) }},
		{Words: "rbd mirror fail", Help: "fail", Run: func(context.Context) ([]byte, error) { return nil, errors.New("no") }},
	}
}

// serve starts a server and returns its socket's path.
func serve(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "asok")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, path, testCommands) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	require.Eventually(t, func() bool { // the file is there before anybody listens
		c, err := net.Dial("unix", path)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 5*time.Second, time.Millisecond)
	return path
}

func ask(t *testing.T, path, request string) string {
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	size := make([]byte, 4)
	_, err = io.ReadFull(c, size)
	require.NoError(t, err)
	text, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Len(t, text, int(binary.BigEndian.Uint32(size)))
	return string(text)
}

func TestServerAnswers(t *testing.T) {
	path := serve(t)
	require.Equal(t, "{\n    \"images\": 2\n}\n", ask(t, path, "{\"prefix\":\"rbd mirror status\"}\x00"))
	require.Equal(t, "ERROR: no\n", ask(t, path, "{\"prefix\":\"rbd mirror fail\"}\n"))
	require.Equal(t, "ERROR: (22) Invalid argument\nunknown command prefix rbd mirror\n", ask(t, path, `{"prefix":"rbd mirror"}`+"\n"))
	require.Equal(t, "ERROR: (22) Invalid argument\ninvalid json\n", ask(t, path, "status\x00"))
	require.Contains(t, ask(t, path, `{"prefix":"help"}`+"\x00"), `"rbd mirror status": "get status"`)

	var sigs map[string]struct{ Sig []string }
	require.NoError(t, json.Unmarshal([]byte(ask(t, path, `{"prefix":"get_command_descriptions"}`+"\x00")), &sigs))
	require.Len(t, sigs, 4)
	require.Equal(t, []string{"rbd", "mirror", "fail"}, sigs["cmd002"].Sig)
}

func TestSocketOfALivingDaemonStays(t *testing.T) {
	path := serve(t)
	err := Serve(t.Context(), path, testCommands)
	require.ErrorContains(t, err, "belongs to a daemon that runs")
}

func TestSocketOfADeadDaemonIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "asok")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Serve(ctx, path, testCommands))
}

func FuzzRespond(f *testing.F) {
	f.Add([]byte(`{"prefix":"help"}`))
	f.Add([]byte(`{"prefix":["a"]}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, request []byte) {
		if out, err := respond(t.Context(), request, testCommands()); err == nil && !json.Valid(out) {
			t.Errorf("%q", out)
		} else if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Error("an error without a text")
		}
	})
}
