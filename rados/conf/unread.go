package conf

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed unread.txt
var unreadText string

// unread are the options of Ceph that are taken and checked, as a command line of
// Ceph's programs may have them, but that nothing here reads.
var unread = sync.OnceValue(func() map[string]kind {
	kinds := map[string]kind{"bool": kindBool, "float": kindFloat, "int": kindInt, "seconds": kindSeconds, "size": kindSize, "string": kindString}
	all := make(map[string]kind)
	for line := range strings.Lines(unreadText) {
		if line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		for _, name := range words[1:] {
			all[name] = kinds[words[0]]
		}
	}
	return all
})

// kindOf returns the type of an option's values, and whether there is such an option.
func kindOf(name string) (kind, bool) {
	if o, ok := options[name]; ok {
		return o.kind, true
	}
	k, ok := unread()[name]
	return k, ok
}
