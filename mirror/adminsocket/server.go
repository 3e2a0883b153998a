// Package adminsocket is the Unix socket by which an operator talks to a running
// daemon: what `ceph --admin-daemon PATH COMMAND` and `ceph daemon` speak to
// (src/common/admin_socket.cc, releases 16.2 to 20.2).
//
// A request is one JSON object with the command's words as "prefix", ended by a
// zero byte or a newline; the answer is its length, 32 bits big endian, and a text.
package adminsocket

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// timeout bounds one request with its answer.
	timeout = 30 * time.Second
	// maxRequest bounds what is read of a request, in bytes.
	maxRequest = 64 << 10
	// maxClients bounds how many are answered at once.
	maxClients = 16
)

// Command is something that can be asked for.
type Command struct {
	// Words name it: all of them, without arguments.
	Words string
	Help  string
	// Run carries it out and returns what to print, JSON or nothing.
	Run func(ctx context.Context) ([]byte, error)
}

// Serve answers on the socket path until ctx ends. commands is asked for every
// request, as what there is may change. An error is that of making the socket; a
// dead daemon's socket is replaced, a living one's is not.
func Serve(ctx context.Context, path string, commands func() []Command) error {
	l, err := listen(ctx, path)
	if err != nil {
		return fmt.Errorf("admin socket: %w", err)
	}
	var clients sync.WaitGroup
	defer clients.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	slots := make(chan struct{}, maxClients)
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("admin socket: %w", err)
		}
		slots <- struct{}{}
		clients.Go(func() {
			defer func() { <-slots }()
			defer c.Close()
			answer(ctx, c, commands())
		})
	}
}

func listen(ctx context.Context, path string) (net.Listener, error) {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("%s belongs to a daemon that runs", path), c.Close())
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "unix", path)
}

// answer reads one request and answers it.
func answer(ctx context.Context, c net.Conn, commands []Command) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The end of ctx, early or not, ends the reading as well.
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request, err := readRequest(c)
	if err != nil {
		return // there is nobody to tell
	}
	out, err := respond(ctx, request, commands)
	if err != nil {
		out = []byte("ERROR: " + err.Error() + "\n")
	}
	_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(out))), out...))
}

func readRequest(r io.Reader) ([]byte, error) {
	var request []byte
	one := make([]byte, 1)
	for len(request) < maxRequest {
		if _, err := io.ReadFull(r, one); err != nil {
			return nil, err
		}
		if one[0] == 0 || one[0] == '\n' {
			return request, nil
		}
		request = append(request, one[0])
	}
	return nil, fmt.Errorf("a request of more than %d bytes", maxRequest)
}

// respond carries out a request.
func respond(ctx context.Context, request []byte, commands []Command) ([]byte, error) {
	var m struct {
		Prefix string `json:"prefix"`
	}
	if err := json.Unmarshal(request, &m); err != nil {
		return nil, errors.New("(22) Invalid argument\ninvalid json")
	}
	prefix := strings.Join(strings.Fields(m.Prefix), " ")
	commands = slices.Clone(commands)
	commands = append(commands,
		Command{Words: "help", Help: "list available commands", Run: func(context.Context) ([]byte, error) { return help(commands) }},
		Command{Words: "get_command_descriptions", Help: "list available commands", Run: func(context.Context) ([]byte, error) { return signatures(commands) }},
	)
	slices.SortFunc(commands, func(a, b Command) int { return strings.Compare(a.Words, b.Words) })
	for _, c := range commands {
		if c.Words == prefix {
			return c.Run(ctx)
		}
	}
	return nil, fmt.Errorf("(22) Invalid argument\nunknown command prefix %s", prefix)
}

// JSON returns v as a command's output.
func JSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "    ")
	return append(b, '\n'), err
}

func help(commands []Command) ([]byte, error) {
	m := make(map[string]string)
	for _, c := range commands {
		if c.Words != "get_command_descriptions" {
			m[c.Words] = c.Help
		}
	}
	return JSON(m)
}

// signatures tells a client what it may send, which it checks by itself.
func signatures(commands []Command) ([]byte, error) {
	type signature struct {
		Words []string `json:"sig"`
		Help  string   `json:"help"`
	}
	m := make(map[string]signature)
	for i, c := range commands {
		m[fmt.Sprintf("cmd%03d", i)] = signature{strings.Fields(c.Words), c.Help}
	}
	return JSON(m)
}
