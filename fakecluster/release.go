package fakecluster

// releaseInfo is what a release says about itself.
type releaseInfo struct {
	number  uint8
	name    string
	short   string
	version string
	commit  string
}

// releaseNames are what releases are called, by number. read-only.
var releaseNames = map[uint8]string{
	10: "jewel", 11: "kraken", 12: "luminous", 13: "mimic", 14: "nautilus", 15: "octopus", 16: "pacific", 17: "quincy", 18: "reef", 19: "squid", 20: "tentacle",
}

func (c *Cluster) release() releaseInfo {
	r := releaseInfo{number: uint8(c.opt.release)}
	build := "stable"
	switch c.opt.release {
	case 16:
		r.name, r.short, r.commit = "pacific", "16.2.15", "618f440892089921c3e944a991122ddc44e60516"
	case 18:
		r.name, r.short, r.commit = "reef", "18.2.7", "6b0e988052ec84cf2d4a54ff9bbbc5e720b621ad"
	default:
		r.name, r.short, r.commit = "tentacle", "20.2.4", "7f793731f1b39eb4f465e960113d2363c311b964"
		build = "stable - RelWithDebInfo"
	}
	r.version = "ceph version " + r.short + " (" + r.commit + ") " + r.name + " (" + build + ")"
	return r
}
