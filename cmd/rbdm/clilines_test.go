package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commandList is a file of command lines with what must be there before them.
type commandList struct {
	name string
	// fill makes it on a side.
	fill func(t *testing.T, at cliSide)
	// least is the share of equal lines that is called good, in percent.
	least float64
	// files says that what the commands write to DIR must be the same too.
	files bool
}

var commandLists = []commandList{
	{name: "rbd-mirror-commands", fill: fillForMirroring, least: 100},
	{name: "rbd-peer-commands", fill: fillForPeers, least: 100},
	{name: "rbd-image-commands", least: 98},
	{name: "rbd-more-commands", fill: fillForMore, least: 98},
	{name: "rbd-option-commands", fill: fillForMore, least: 98, files: true},
	{name: "rbd-data-commands", fill: fillForData, least: 98, files: true},
	{name: "rbd-journal-commands", least: 98},
	{name: "rbd-journal-mirror-commands", least: 100},
	{name: "rbd-group-commands", fill: fillForMirroring, least: 98},
	{name: "rbd-journaled-commands", fill: fillForMore, least: 98, files: true},
	{name: "rbd-setting-commands", fill: fillForSettings, least: 98},
	{name: "rbd-help-commands", least: 98},
}

var (
	volatileJournal = regexp.MustCompile(`((?:journal|rbd)_data)\.\d+\.`)
	volatileHeader  = regexp.MustCompile(`(rbd journal '|header_oid: journal\.|_data\.N\.|(?:source|destination): \S+ \()[0-9a-f]{6,}`)
	volatileOld     = regexp.MustCompile(`(rb\.0\.|"pool_id":)(?:[0-9a-f]+\.\w+|\d+)`)
	volatileOwner   = regexp.MustCompile(`(\tjournal: |"journal": ?")[0-9a-f]{6,}`)
	volatileGroup   = regexp.MustCompile(`\.group\.[0-9a-f]+_[0-9a-f]+_[0-9a-f]+`)
	volatileGroupID = regexp.MustCompile(`(group_id": ?"|<group_id>|"id": ?"|<id>)[0-9a-f]{6,}|(?m:^[0-9a-f]{6,}( \S+ (?:in)?complete)$)`)
	volatileStamp   = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	volatileKey     = regexp.MustCompile(`\bA[Qg][A-Za-z0-9+/]{30,}=*`)
	volatileToken   = regexp.MustCompile(`\beyJ[A-Za-z0-9+/]{60,}=*`)
	volatileMon     = regexp.MustCompile(`\bv2:127\.0\.0\.1:\d+/\d+`)
	volatileRate    = regexp.MustCompile(`(elapsed: |ops/sec: |bytes/sec: |(?:read|write)_ops: )(?:[\d.e+]+|inf|-?nan)( [KMGE]?i?B/s)?`)
	volatileSecond  = regexp.MustCompile(`(?m)^ *\d+ +\d+ +[\d.e+]+ +[\d.]+ [KMG]?i?B/s\n`)
	volatileMirror  = regexp.MustCompile(`(?m)^( *)\d+ (\.mirror\.)`)
	volatileRow     = regexp.MustCompile(`(?m)^( *)\d+ (.* \d+ [KMG]iB .*DATE)`)
	volatileSnapID  = regexp.MustCompile(`(Snapshot ID: |"id": ?|<id>|snap id: |"snap_id": ?|<snap_id>|"snapshot_id": ?|<snapshot_id>)\d+`)
	firstUUID       = regexp.MustCompile(`"uuid":"([^"]*)"`)
)

// cliSide is where a list is run: a pool and a folder of its own, and a program.
type cliSide struct {
	pool, dir string
	// conf is the cluster's ceph.conf.
	conf string
	// run carries out a command of rbd.
	run func(t *testing.T, args ...string) (stdout, stderr string, code int)
	// must does what is not compared, and returns what is printed.
	must func(t *testing.T, args ...string) string
	// other makes a pool of the same name on another cluster, and returns what
	// must is there.
	other func(t *testing.T) func(t *testing.T, args ...string) string
}

var (
	volatileProgress = regexp.MustCompile(`(\r[A-Z][A-Za-z ]*: \d+% complete\.\.\.)+\r`)
	volatileLog      = regexp.MustCompile(`\d{4}-\d\d-\d\dT\S+ [0-9a-f]+ +-1 .*\n?`)
	volatileDate     = regexp.MustCompile(`[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d \d{4}`)
	volatileID       = regexp.MustCompile(`\b[0-9a-f]{11,20}\b|\b\d+[a-f][0-9a-f]{5,18}\b|\b\d{3,}[a-f][0-9a-f]{2,18}\b|\bid: [0-9a-f]{6,}|rbd_data\.[0-9a-f]{6,}|"id":"[0-9a-f]{6,}"|client\.\d+|127\.0\.0\.1:0/\d+|"17\d{8}"|\b17\d{8}\b`)
	volatileUUID     = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	volatileExpiry   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+\d{4}`)
	volatileBlanks   = regexp.MustCompile(` {2,}|\n+`)
	trashName        = regexp.MustCompile(`TRASH:(\w+)`)
	imageName        = regexp.MustCompile(`\bID:(\w+)`)
	idOfImage        = regexp.MustCompile(`"id": ?"([^"]*)"`)
)

// steady replaces what differs from run to run: ids, times, addresses, the log
// lines of librbd and how often progress was printed.
func steady(text, pool string) string {
	text = strings.ReplaceAll(text, pool, "POOL")
	text = volatileProgress.ReplaceAllString(text, "\r")
	text = volatileLog.ReplaceAllString(text, "\n")
	text = volatileDate.ReplaceAllString(text, "DATE")
	text = volatileExpiry.ReplaceAllString(volatileUUID.ReplaceAllString(text, "UUID"), "TIME")
	text = volatileID.ReplaceAllString(text, "ID")
	return volatileBlanks.ReplaceAllStringFunc(text, func(s string) string { return s[:1] })
}

// words joins what is left of stderr without librbd's log lines, which begin and
// end anywhere in it.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// outcome runs one line on a side, and returns its output and exit code without
// what differs from side to side.
func (at cliSide) outcome(t *testing.T, line string) string {
	t.Helper()
	line = strings.NewReplacer("DIR", at.dir, "POOL", at.pool).Replace(line)
	if strings.Contains(line, "PEER") {
		peer := "00000000-0000-0000-0000-000000000000"
		if m := firstUUID.FindStringSubmatch(at.must(t, "mirror", "pool", "info", at.pool, "--format", "json")); m != nil {
			peer = m[1]
		}
		line = strings.ReplaceAll(line, "PEER", peer)
	}
	line = trashName.ReplaceAllStringFunc(line, func(m string) string {
		for entry := range strings.Lines(at.must(t, "trash", "ls", "--all", at.pool)) {
			if id, name, _ := strings.Cut(strings.TrimSpace(entry), " "); name == m[len("TRASH:"):] {
				return id
			}
		}
		return "missing"
	})
	line = imageName.ReplaceAllStringFunc(line, func(m string) string {
		return idOfImage.FindStringSubmatch(at.must(t, "info", at.pool+"/"+m[len("ID:"):], "--format", "json"))[1]
	})
	out, errs, code := at.run(t, strings.Fields(line)...)
	said := strings.ReplaceAll(words(steady(errs, at.pool)), " : ", ": ") // where a log line was
	text := fmt.Sprintf("%s\nstderr: %s\nexit %d", steady(out, at.pool), said, code)
	return steadyMirror(strings.ReplaceAll(text, strings.ReplaceAll(at.dir, at.pool, "POOL"), "DIR"))
}

// steadyMirror replaces what differs from pool to pool in the output of mirror
// commands: uuids, and when something happened.
func steadyMirror(text string) string {
	text = volatileGroupID.ReplaceAllString(text, "${1}ID${2}")
	text = volatileOld.ReplaceAllString(text, "${1}N")
	text = volatileOwner.ReplaceAllString(text, "${1}ID")
	text = volatileGroup.ReplaceAllString(text, ".group.ID")
	text = volatileHeader.ReplaceAllString(volatileJournal.ReplaceAllString(text, "${1}.N."), "${1}ID")
	text = strings.ReplaceAll(text, "ID \n", "ID\n") // a column as wide as the longest id
	text = volatileStamp.ReplaceAllString(text, "TIME")
	text = volatileToken.ReplaceAllStringFunc(text, tokenParts)
	text = volatileMon.ReplaceAllString(volatileKey.ReplaceAllString(text, "KEY"), "MON")
	text = volatileRate.ReplaceAllString(volatileSecond.ReplaceAllString(text, ""), "${1}N")
	text = volatileMirror.ReplaceAllString(text, "${1}N $2")
	text = volatileRow.ReplaceAllString(text, "${1}N $2")
	text = strings.ReplaceAll(text, "0 % complete", "0% complete") // where a log line was
	return volatileSnapID.ReplaceAllString(text, "${1}N")
}

// tokenParts returns what a bootstrap token consists of, in its order.
func tokenParts(token string) string {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		return token
	}
	return "TOKEN" + volatileValue.ReplaceAllString(string(raw), `"$1":*`)
}

var volatileValue = regexp.MustCompile(`"(fsid|key|mon_host)":"[^"]+"`)

// linesOf returns the command lines of a list.
func linesOf(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// fillForMirroring makes what the list of mirror commands expects.
func fillForMirroring(t *testing.T, at cliSide) {
	t.Helper()
	at.must(t, "namespace", "create", at.pool+"/ns")
	for _, spec := range []string{"i", "j", "k", "ns/n"} {
		at.must(t, "create", "--size", "8M", at.pool+"/"+spec)
	}
}

// fillForPeers makes the pool on the other site too, and a token of there.
func fillForPeers(t *testing.T, at cliSide) {
	t.Helper()
	fillForMirroring(t, at)
	// The site's name is the cluster's: it is one and the same for both pools.
	at.must(t, "mirror", "pool", "enable", at.pool, "image", "--site-name", "one")
	at.must(t, "mirror", "pool", "disable", at.pool)
	other := at.other(t)
	other(t, "mirror", "pool", "enable", at.pool, "image")
	putFile(t, at.dir, "token", []byte(other(t, "mirror", "pool", "peer", "bootstrap", "create", "--site-name", "other", at.pool)))
	putFile(t, at.dir, "key", []byte("AQAjSqtjEWklERAAWcEfDLKpZsPK0DUcfHLVkw==\n"))
	putFile(t, at.dir, "empty", nil)
	putFile(t, at.dir, "rubbish", []byte("this is no token\n"))
}

// fillForMore makes namespaces and a file of three objects' parts.
func fillForMore(t *testing.T, at cliSide) {
	t.Helper()
	at.must(t, "namespace", "create", at.pool+"/ns")
	at.must(t, "namespace", "create", at.pool+"/ns2")
	putFile(t, at.dir, "in", sparseContent(rand.New(rand.NewPCG(3, 9)), 3<<20+512))
}

var (
	keyringOption = regexp.MustCompile(`(?m)^\s*keyring = (.*)$`)
	adminKey      = regexp.MustCompile(`\[client\.admin\]\s+key = (\S+)`)
)

// fillForSettings makes a ceph.conf with another default pool, and files with the
// key of client.admin.
func fillForSettings(t *testing.T, at cliSide) {
	t.Helper()
	at.must(t, "namespace", "create", at.pool+"/ns")
	conf, err := os.ReadFile(at.conf)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := os.ReadFile(strings.ReplaceAll(string(keyringOption.FindSubmatch(conf)[1]), "$name", "client.admin"))
	if err != nil {
		t.Fatal(err)
	}
	putFile(t, at.dir, "mine.conf", append(conf, "\n[client]\nrbd default pool = "+at.pool+"\n"...))
	putFile(t, at.dir, "ring", ring)
	putFile(t, at.dir, "key", append(adminKey.FindSubmatch(ring)[1], '\n'))
	putFile(t, at.dir, "rubbish", []byte("this is neither a key nor a setting\n"))
}

// fillForData makes the files that are imported.
func fillForData(t *testing.T, at cliSide) {
	t.Helper()
	const size = 20<<20 - 512
	rng := rand.New(rand.NewPCG(7, 1))
	putFile(t, at.dir, "in", sparseContent(rng, size))
	putFile(t, at.dir, "empty", nil)
	putFile(t, at.dir, "bad", []byte("hello world, this is no diff"))
	putFile(t, at.dir, "change", changes(rng, size, 12))
}

const cliDifferences = "testdata/cli-differences.txt"

// knownDifferences returns the reasons by command line, of a release.
func knownDifferences(t *testing.T, path, release string) map[string]string {
	t.Helper()
	list, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, "\t", 3)
		if len(f) != 3 {
			t.Fatalf("%s: %q has no reason", path, line)
		}
		if f[0] == "all" || slices.Contains(strings.Split(f[0], ","), release) {
			known[f[1]] = f[2]
		}
	}
	return known
}
