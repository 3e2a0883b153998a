//go:build !unix

package daemoncmd

import "errors"

func detach([]string) error {
	return errors.New("this system has no background: run it with -f or -d")
}

func become(user, group, _ string) error {
	if user != "" || group != "" {
		return errors.New("--setuser and --setgroup are not for this system")
	}
	return nil
}
