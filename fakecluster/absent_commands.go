package fakecluster

import (
	"fmt"
	"strings"

	"github.com/rbdm/rbdm/rados/errno"
)

// absentCommands are those about what this cluster has none of: crashes, disks,
// progress, file systems, an orchestrator. They answer as a real cluster that has none.
func absentCommands() []command {
	quiet := func(*call) errno.Errno { return 0 }
	t := []command{
		{words: "crash ls", run: (*call).nothingListed},
		{words: "crash ls-new", run: (*call).nothingListed},
		{words: "crash stat", run: func(k *call) errno.Errno { return k.print("0 crashes recorded\n") }},
		{words: "crash info", run: (*call).noCrash},
		{words: "crash archive", run: (*call).noCrash},
		{words: "crash archive-all", run: quiet},
		{words: "crash rm", run: quiet},
		{words: "crash prune", run: (*call).crashPrune},
		{words: "device ls", run: func(k *call) errno.Errno { return k.deviceTable("DEVICE  HOST:DEV  DAEMONS  WEAR  LIFE EXPECTANCY") }},
		{words: "device ls-by-daemon", run: (*call).daemonDevices},
		{words: "device ls-by-host", run: func(k *call) errno.Errno { return k.deviceTable("DEVICE  DEV  DAEMONS  EXPECTED FAILURE") }},
		{words: "device info", run: func(k *call) errno.Errno { return k.say(errno.ErrNotFound, "device %s not found", k.args.str("devid")) }},
		{words: "device monitoring on", run: func(k *call) errno.Errno { return k.moduleOption("mgr/devicehealth/enable_monitoring", "true") }},
		{words: "device monitoring off", run: func(k *call) errno.Errno { return k.moduleOption("mgr/devicehealth/enable_monitoring", "false") }},
		{words: "progress", run: func(k *call) errno.Errno { return k.say(0, "Nothing in progress") }},
		{words: "progress json", run: func(k *call) errno.Errno {
			return k.pyJSON(object{{"completed", []string{}}, {"events", []string{}}})
		}},
		{words: "progress clear", run: quiet},
		{words: "fs status", run: quiet},
		{words: "fs new", run: (*call).fsNew},
		{words: "fs rm", run: func(k *call) errno.Errno { return k.say(0, "filesystem '%s' does not exist", k.args.str("fs_name")) }},
		{words: "mds metadata", run: (*call).mdsMetadata},
		{words: "mds ok-to-stop", run: func(k *call) errno.Errno {
			return k.say(0, "should be safe to stop [%s]", strings.Join(k.args.list("ids"), ","))
		}},
		{words: "mds compat show", run: func(k *call) errno.Errno {
			var features []string
			for _, f := range k.c.fsFeatures() {
				features = append(features, fmt.Sprintf("%s=%s", f.Key, f.Value))
			}
			return k.print("compat={},rocompat={},incompat={%s}\n", strings.Join(features, ","))
		}},
		{words: "nfs cluster ls", run: func(k *call) errno.Errno {
			if k.c.opt.release < 18 {
				return k.noOrchestrator()
			}
			return k.print("[]")
		}},
	}
	for words, refusal := range map[string]struct {
		e      errno.Errno
		format string
	}{
		"fs get": {errno.ErrNotFound, "filesystem '%s' not found"}, "fs lsflags": {errno.ErrNotFound, "filesystem '%s' not found"},
		"fs set": {errno.ErrNotFound, "Filesystem not found: '%s'"}, "fs authorize": {errno.ErrInvalid, "filesystem %s does not exist."},
	} {
		t = append(t, command{words: words, run: func(k *call) errno.Errno {
			return k.say(refusal.e, refusal.format, k.args.str("fs_name")+k.args.str("filesystem"))
		}})
	}
	for _, words := range []string{"fs subvolume ls", "fs subvolumegroup ls", "fs volume info"} {
		t = append(t, command{words: words, module: "volumes", run: func(k *call) errno.Errno {
			return k.say(errno.ErrNotFound, "FS '%s' not found", k.args.str("vol_name"))
		}})
	}
	for _, set := range setsOf {
		for words := range set()[takesMgr].first {
			if strings.HasPrefix(words, "orch ") && words != "orch set backend" {
				t = append(t, command{words: words, module: "orchestrator", run: (*call).noOrchestrator})
			}
		}
	}
	return t
}

func (k *call) nothingListed() errno.Errno {
	if k.plain() {
		return 0
	}
	return k.json([]string{})
}

func (k *call) noCrash() errno.Errno {
	return k.say(0, "crash info: %s not found", k.args.str("id"))
}

func (k *call) crashPrune() errno.Errno {
	if s := k.args.str("keep"); strings.Trim(s, "0123456789") != "" {
		return k.say(0, "keep argument must be integer")
	}
	return 0
}

// deviceTable is a list of disks, with its head only.
func (k *call) deviceTable(head string) errno.Errno {
	if k.plain() {
		return k.print("%s\n", head)
	}
	return k.json([]string{})
}

func (k *call) daemonDevices() errno.Errno {
	who := k.args.str("who")
	for _, d := range k.c.daemons() {
		if d.name == who {
			return k.deviceTable("DEVICE  HOST:DEV  EXPECTED FAILURE")
		}
	}
	return k.say(errno.ErrNotFound, "daemon %s not found", who)
}

func (k *call) fsNew() errno.Errno {
	for _, name := range []string{k.args.str("metadata"), k.args.str("data")} {
		if _, ok := k.c.osdmap.PoolByName(name); !ok {
			return k.say(errno.ErrNotFound, "pool '%s' does not exist", name)
		}
	}
	return k.say(errno.ErrNotSupported, "this fake cluster cannot do 'fs new'")
}

func (k *call) mdsMetadata() errno.Errno {
	who := k.args.str("who")
	if who == "" {
		return k.json([]string{})
	}
	k.json(object{})
	return k.say(errno.ErrInvalid, "MDS named '%s' does not exist, or is not up", who)
}

func (k *call) noOrchestrator() errno.Errno {
	return k.say(errno.ErrNotFound, "No orchestrator configured (try `ceph orch set backend`)")
}
