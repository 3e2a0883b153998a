package mgrc

import (
	"bufio"
	"maps"
	"os"
	"runtime"
	"strings"
)

// HostMetadata returns what a Ceph daemon tells of its host and itself: arch,
// hostname, os, distribution, kernel, CPU, memory. version is what to give as
// ceph_version ("ceph version X (…) …"), of which "rbd mirror pool status"
// shows the third word; short and release are its short form and the release's
// name. What the machine does not tell is left out.
func HostMetadata(version, short, release string) map[string]string {
	m := map[string]string{
		"arch": arch(), "os": osName(),
		"ceph_version": version, "ceph_version_short": short, "ceph_release": release,
	}
	if h, err := os.Hostname(); err == nil {
		m["hostname"] = h
	}
	maps.Copy(m, distribution("/etc/os-release"))
	for key, path := range map[string]string{
		"kernel_version":     "/proc/sys/kernel/osrelease",
		"kernel_description": "/proc/sys/kernel/version",
	} {
		if p, err := os.ReadFile(path); err == nil {
			m[key] = strings.TrimSpace(string(p))
		}
	}
	if v, ok := field("/proc/cpuinfo", "model name"); ok {
		m["cpu"] = v
	}
	for key, name := range map[string]string{"mem_total_kb": "MemTotal", "mem_swap_kb": "SwapTotal"} {
		if v, ok := field("/proc/meminfo", name); ok {
			m[key] = strings.TrimSuffix(v, " kB")
		}
	}
	return m
}

// arch returns the machine's name as uname does.
func arch() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}

func osName() string {
	if runtime.GOOS == "linux" {
		return "Linux"
	}
	return runtime.GOOS
}

// field returns the value of the first "name : value" line of a file.
func field(path, name string) (string, bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// distribution reads the keys of os-release that Ceph passes on.
func distribution(path string) map[string]string {
	m := map[string]string{}
	f, err := os.Open(path)
	if err != nil {
		return m
	}
	defer f.Close()
	names := map[string]string{"ID": "distro", "VERSION_ID": "distro_version", "PRETTY_NAME": "distro_description"}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		k, v, ok := strings.Cut(sc.Text(), "=")
		if key, known := names[k]; ok && known {
			m[key] = strings.Trim(v, `"'`)
		}
	}
	return m
}
