package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/rbdm/rbdm/fakecluster/savefile"
)

// clusters are what one process runs.
type clusters []*control

func (cs clusters) close() {
	for _, at := range cs {
		at.c.Close()
	}
}

// named returns the first cluster of a name, or nil.
func (cs clusters) named(name string) *control {
	for _, at := range cs {
		if at.c.Name() == name {
			return at
		}
	}
	return nil
}

func (cs clusters) stored() (n uint64) {
	for _, at := range cs {
		n += at.c.StoredBytes()
	}
	return n
}

// serve answers on the socket until ctx is done, and removes it then.
func (cs clusters) serve(ctx context.Context, l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			end := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer end()
			defer func() { _ = conn.Close() }()
			cs.converse(conn)
		})
	}
}

// converse answers the commands of one connection. They are about the first
// cluster until one says which.
func (cs clusters) converse(conn io.ReadWriter) {
	at := cs[0]
	for s := bufio.NewScanner(conn); s.Scan(); {
		words := strings.Fields(s.Text())
		var answer string
		var err error
		if len(words) == 2 && words[0] == "cluster" {
			if other := cs.named(words[1]); other != nil {
				at, answer = other, "ok"
			} else {
				err = fmt.Errorf("there is no cluster %s", words[1])
			}
		} else {
			answer, err = at.do(words)
		}
		if err != nil {
			answer = "error: " + err.Error()
		}
		if _, err := fmt.Fprintln(conn, answer); err != nil {
			return
		}
	}
}

// A file of several clusters is their files, one behind the other, with the length
// of each and how many there are behind them, as u64 and u32, and severalMagic.
const (
	severalMagic = "FAKECEPS"
	severalTail  = 4 + len(severalMagic)
	maxClusters  = 1000
)

// save writes all clusters to one file.
func (cs clusters) save(w io.Writer) error {
	if len(cs) == 1 {
		return cs[0].c.Save(w)
	}
	var tail []byte
	for _, at := range cs {
		n := &counter{w: w}
		if err := at.c.Save(n); err != nil {
			return err
		}
		tail = binary.LittleEndian.AppendUint64(tail, n.n)
	}
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(cs)))
	_, err := w.Write(append(tail, severalMagic...))
	return err
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}

// savedClusters returns the files that are in one.
func savedClusters(f *os.File) ([]io.Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, severalTail)
	at := info.Size() - int64(severalTail)
	if at < 0 {
		return []io.Reader{f}, nil
	}
	if _, err := f.ReadAt(tail, at); err != nil {
		return nil, err
	}
	if string(tail[4:]) != severalMagic {
		return []io.Reader{f}, nil
	}
	n := int64(binary.LittleEndian.Uint32(tail))
	if n > maxClusters || at-8*n < 0 {
		return nil, fmt.Errorf("%w: %d clusters", savefile.ErrFormat, n)
	}
	lengths := make([]byte, 8*n)
	at -= 8 * n
	if _, err := f.ReadAt(lengths, at); err != nil {
		return nil, err
	}
	var all []io.Reader
	var from int64
	for i := range n {
		length := binary.LittleEndian.Uint64(lengths[8*i:])
		if length > uint64(at-from) {
			return nil, fmt.Errorf("%w: a cluster of %d bytes", savefile.ErrFormat, length)
		}
		all = append(all, io.NewSectionReader(f, from, int64(length)))
		from += int64(length)
	}
	if from != at || n == 0 {
		return nil, fmt.Errorf("%w: %d bytes between the clusters", savefile.ErrFormat, at-from)
	}
	return all, nil
}
